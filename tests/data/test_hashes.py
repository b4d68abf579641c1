from semievol.data.hashes import among, hashes, repeated


def test_repeats_are_those_that_stood_there_before():
    assert len(repeated(hashes("abcab"))) == 2
    assert len(repeated(hashes("abc"))) == len(repeated(hashes(""))) == 0


def test_among_tells_each_value():
    assert among(hashes("xaybz"), hashes("ab")).tolist() == [False, True, False, True, False]
    assert among(hashes("ab"), hashes("")).tolist() == [False, False]
    assert among(hashes(""), hashes("ab")).tolist() == []


def test_a_hash_is_the_same_on_every_machine():
    assert hashes(["semievol"]).tolist() == [2764074008591492210]
