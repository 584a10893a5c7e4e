"""Flags of a program, as TensorFlow 1 scripts define them."""
import pytest
import ringflow as rf
from ringflow.graph.app import Flags, flags, run
from ringflow.graph.errors import InvalidArgumentError


@pytest.fixture
def values(monkeypatch):
    monkeypatch.setattr(flags, "FLAGS", Flags())
    rf.app.flags.DEFINE_integer("steps", 100, "how many")
    rf.app.flags.DEFINE_string("data_dir", None, "where")
    rf.app.flags.DEFINE_float("rate", 0.5, "how fast")
    rf.app.flags.DEFINE_boolean("fake", False, "made-up data")
    rf.flags.DEFINE_bool("log", True, "tell")
    return flags.FLAGS


def test_flags_come_from_the_command_line_and_the_rest_goes_to_main(values):
    seen = []
    with pytest.raises(SystemExit) as end:
        run(lambda argv: seen.append((argv, values.steps, values.data_dir, values.rate, values.fake, values.log)),
            ["prog", "--steps", "7", "file", "--data_dir=/x", "--fake", "--nolog"])
    assert seen == [(["prog", "file"], 7, "/x", 0.5, True, False)] and end.value.code is None


def test_defaults_and_changed_values(values, monkeypatch):
    monkeypatch.setattr("sys.argv", ["prog"])
    assert (values.steps, values.data_dir, values.fake) == (100, None, False)
    values.steps = 3
    assert values.steps == 3
    with pytest.raises(AttributeError, match="no flag is called 'speed'"):
        values.speed  # noqa: B018
    with pytest.raises(InvalidArgumentError, match="defined twice"):
        rf.app.flags.DEFINE_string("rate", "", "")


def test_values_of_another_type_end_the_program(values, capsys):
    with pytest.raises(SystemExit):
        run(lambda argv: None, ["prog", "--steps", "many"])
    assert "--steps" in capsys.readouterr().err
