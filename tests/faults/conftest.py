from __future__ import annotations

import pytest

from tests.faults import report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode
) -> None:
    """Show the tables; the long form's goes into the documentation too, if all is well."""
    for table, results in report.RESULTS.items():
        if results:
            terminalreporter.write_line("\n" + report.render(table, results))
        if results and report.LONG and exitstatus == pytest.ExitCode.OK:
            report.write_page(table, results)
