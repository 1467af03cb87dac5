from __future__ import annotations

from trainer.tfx.summary import Anomaly, PipelineResult, SliceMetrics, summary


def metrics(auc: float | None, n: int) -> SliceMetrics:
    return SliceMetrics(
        auc=auc, logloss=0.51234, calibration=1.25, mean_label=0.4, mean_score=0.5, n=n
    )


def result() -> PipelineResult:
    return PipelineResult(
        blessed=True,
        failures=[],
        test=metrics(0.81239, 8304),
        baseline=None,
        slices={"user_activity": {"0-19": metrics(None, 28), "20-49": metrics(0.75, 350)}},
        anomalies=[],
        pushed="out/tfx/pushed/films/17",
        version=17,
        run="run",
        evaluation="evaluation",
    )


def test_a_first_model_is_pushed() -> None:
    assert list(summary(result())) == [
        "examples: no anomalies",
        "test: AUC 0.8124, LogLoss 0.5123, calibration 1.2500 (8,304 samples)",
        "  user_activity 0-19: AUC -, LogLoss 0.5123, calibration 1.2500 (28 samples)",
        "  user_activity 20-49: AUC 0.7500, LogLoss 0.5123, calibration 1.2500 (350 samples)",
        "no blessed model to compare with",
        "blessed, and pushed to out/tfx/pushed/films/17",
    ]


def test_a_worse_model_is_not_pushed_and_the_reasons_are_named() -> None:
    refused = result() | {
        "blessed": False,
        "failures": ["auc is too low", "calibration is off"],
        "baseline": metrics(0.83, 8304),
        "pushed": None,
        "version": None,
    }
    assert list(summary(PipelineResult(**refused)))[-2:] == [
        "last blessed model: AUC 0.8300, LogLoss 0.5123, calibration 1.2500 (8,304 samples)",
        "not blessed, and not pushed: auc is too low; calibration is off",
    ]


def test_anomalies_say_who_found_them_and_where() -> None:
    anomaly = Anomaly(
        found_by="ExampleValidator",
        split="test",
        feature="profile_city",
        description="Unexpected value: Rome.",
    )
    lines = list(summary(PipelineResult(**(result() | {"anomalies": [anomaly]}))))
    assert lines[0] == "ExampleValidator: test: profile_city: Unexpected value: Rome."
    assert not any("no anomalies" in line for line in lines)
