"""What of the log is written: as the configuration says, also when it changes, unless the process was told otherwise."""

from dataclasses import replace

import pytest
import structlog

from howdah.controller.log_level import LEVELS, LogLevel
from howdah.model.errors import InvalidSpec
from howdah.model.settings import default_settings

SETTINGS = default_settings()[0]
DEBUG, PLAIN = replace(SETTINGS, debug_logging=True), replace(SETTINGS, debug_logging=False)


def written(level: LogLevel) -> list[str]:
    found = []
    for method in LEVELS:
        try:
            level(None, method, {"event": "x"})
        except structlog.DropEvent:
            continue
        found.append(method)
    return found


def test_before_there_is_a_configuration_debug_lines_are_left_out() -> None:
    assert written(LogLevel()) == ["info", "warning", "error"]


def test_the_option_changes_it_while_the_operator_runs() -> None:
    level = LogLevel()
    level.take_up(DEBUG)
    assert written(level) == ["debug", "info", "warning", "error"]
    level.take_up(PLAIN)
    assert written(level) == ["info", "warning", "error"]


@pytest.mark.parametrize(("word", "expected"), [("warning", ["warning", "error"]), ("DEBUG", list(LEVELS))])
def test_the_word_of_the_process_wins(word: str, expected: list[str]) -> None:
    level = LogLevel({"HOWDAH_LOG_LEVEL": word})
    level.take_up(PLAIN)
    assert written(level) == expected


def test_a_level_that_there_is_not_is_refused_with_what_to_write() -> None:
    with pytest.raises(InvalidSpec) as caught:
        LogLevel({"HOWDAH_LOG_LEVEL": "loud"})
    assert str(caught.value.problems[0]) == 'HOWDAH_LOG_LEVEL: "loud" is no level; write debug, info, warning, error'


def test_an_exception_is_written_at_every_level() -> None:
    assert LogLevel({"HOWDAH_LOG_LEVEL": "error"})(None, "exception", {"event": "x"}) == {"event": "x"}
