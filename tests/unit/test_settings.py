from pathlib import Path

from seedbank.settings import Settings


def test_defaults_keep_everything_in_one_folder(tmp_path: Path) -> None:
    settings = Settings.from_env({"SEEDBANK_HOME": str(tmp_path)})
    assert settings.store == str(tmp_path / "store")
    assert settings.roster == tmp_path / "roster.yaml"
    assert settings.keys == tmp_path / "keys"
    assert settings.tracking_uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert settings.tracking_url == ""
    assert settings.actor.startswith("cli:")
    assert (settings.device, settings.share_gpu) == ("auto", False)


def test_the_environment_wins() -> None:
    settings = Settings.from_env(
        {
            "SEEDBANK_STORE": "s3://bank",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
            "SEEDBANK_ACTOR": "airflow:release_review",
            "SEEDBANK_DEVICE": "cuda:1",
            "SEEDBANK_SHARE_GPU": "1",
        }
    )
    assert settings.store == "s3://bank"
    assert settings.tracking_url == "http://127.0.0.1:5000"
    assert settings.actor == "airflow:release_review"
    assert (settings.device, settings.share_gpu) == ("cuda:1", True)


def test_the_process_environment_is_read_when_none_is_given() -> None:
    assert Settings.from_env().home.is_absolute()
