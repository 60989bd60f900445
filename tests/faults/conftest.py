from __future__ import annotations

import pytest

from tests.faults import report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode
) -> None:
    """Show the table; the long form's goes into the documentation too, if all is well."""
    if report.RESULTS:
        terminalreporter.write_line("\n" + report.table(report.RESULTS))
    if report.LONG and exitstatus == pytest.ExitCode.OK:
        report.write_page(report.RESULTS)
