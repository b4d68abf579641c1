"""Semi-supervised fine-tuning of language models: labeled and unlabeled rows in, a better model out."""
