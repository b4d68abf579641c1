"""An exported model, or training data, on the Hugging Face hub."""

from pathlib import Path

from semievol.errors import ExportError, MissingExtraError, first_line


def push(path: Path, repository: str, *, public: bool = False, data: bool = False) -> str:
    """Uploads a folder with a model, or a file with data, and says where it is.

    Args:
        repository: `owner/name`; it is made if it is not there, for its owner's eyes unless it is to be `public`. One
            that is there stays as visible as it is.
        data: whether it is a data set.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        ExportError: the hub refuses, or cannot be reached.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ModuleNotFoundError as error:
        raise MissingExtraError("--push needs huggingface_hub; pip install 'semievol[local]'") from error
    kind = "dataset" if data else "model"
    message = "Exported by SemiEvol"
    try:
        api = HfApi()
        url = api.create_repo(repository, repo_type=kind, private=not public, exist_ok=True)
        if path.is_dir():
            api.upload_folder(repo_id=repository, repo_type=kind, folder_path=path, commit_message=message)
        else:
            for file in (path, path.with_name(f"{path.name}.about.jsonl")):
                api.upload_file(
                    path_or_fileobj=file,
                    path_in_repo=file.name,
                    repo_id=repository,
                    repo_type=kind,
                    commit_message=message,
                )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise ExportError(
            f"--push {repository}: {first_line(error)}; `hf auth login` or HF_TOKEN say who you are"
        ) from error
    return str(url)
