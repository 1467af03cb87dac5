from __future__ import annotations

from serving.client.errors import ProfileError, RankingError, ServerUnavailable


def test_every_failure_has_the_code_of_a_grpc_status() -> None:
    error = RankingError("NOT_FOUND", "no such model")
    assert (error.code, str(error)) == ("NOT_FOUND", "no such model")
    unavailable = ServerUnavailable("nobody is there")
    assert isinstance(unavailable, RankingError)
    assert (unavailable.code, str(unavailable)) == ("UNAVAILABLE", "nobody is there")


def test_a_wrong_profile_names_its_attribute() -> None:
    error = ProfileError("age", "must be a number")
    assert isinstance(error, RankingError) and error.code == "INVALID_ARGUMENT"
    assert (error.attribute, error.reason) == ("age", "must be a number")
    assert str(error) == "profile attribute 'age' must be a number"
