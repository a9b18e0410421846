"""Crontabs, read into tables: the forms of crontab(5), what is otherwise under Duck, and what is not carried over."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from duck.services.automations.imported import Crontab, Job, read_crontab
from duck.services.automations.toml import automation_table

# /etc/crontab of Debian 12.
DEBIAN = """\
# /etc/crontab: system-wide crontab
SHELL=/bin/sh
# You can also override PATH, but by default, newer versions inherit it from the environment
#PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin

# .---------------- minute (0 - 59)
# *  *  *  *  * user-name command to be executed
17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly
25 6\t* * *\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }
47 6\t* * 7\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.weekly; }
"""


def read(text: str, *, system: bool = False, home: str | None = None) -> Crontab:
    return read_crontab(text, has_users=system, home=home, zone=ZoneInfo("UTC"))


def job(line: str, **options: Any) -> Job:
    read_it = read(line, **options)
    assert read_it.problems == ()
    (found,) = read_it.jobs
    return found


class TestForms:
    def test_of_a_user(self) -> None:
        found = job("30 2 * * mon-fri  /srv/shop/backup.sh --all > /dev/null 2>&1", home="/home/ada")
        assert (found.name, found.line) == ("backup", 1)
        assert found.table == {
            "shell": "/srv/shop/backup.sh --all > /dev/null 2>&1",
            "cron": "30 2 * * mon-fri",
            "cwd": "/home/ada",
            "missed": "skip",
            "overlap": "allow",
        }

    def test_of_the_system_with_users(self) -> None:
        found = read(DEBIAN, system=True)
        assert found.problems == ()
        assert [(each.name, each.table["cron"]) for each in found.jobs] == [
            ("cron.hourly", "17 * * * *"),
            ("anacron", "25 6 * * *"),
            ("anacron-2", "47 6 * * 7"),
        ]
        assert found.jobs[0].table["shell"] == "cd / && run-parts --report /etc/cron.hourly"
        assert "cwd" not in found.jobs[0].table
        assert found.jobs[0].notes == (
            "It ran as root, in that user's home; here it runs in the project's directory, as the user that runs Duck.",
        )
        (elsewhere,) = read("HOME=/srv\n@daily root x\n", system=True).jobs
        assert elsewhere.notes == ("It ran as root; here it runs as the user that runs Duck.",)

    @pytest.mark.parametrize(
        ("line", "trigger"),
        [
            ("@daily x", {"cron": "@daily"}),
            ("@Hourly x", {"cron": "@hourly"}),
            ("@reboot x", {"on": "start"}),
            ("@every_minute x", {"every": "1m"}),
            ("-*/5 * * * * x", {"cron": "*/5 * * * *"}),
            ("  1,2 3-4 */2 jan 0-7 x", {"cron": "1,2 3-4 */2 jan 0-7"}),
        ],
    )
    def test_triggers(self, line: str, trigger: dict[str, str]) -> None:
        table = job(line).table
        assert {key: table[key] for key in trigger} == trigger and table["shell"] == "x"

    def test_variables_count_for_the_lines_below_them(self) -> None:
        text = (
            '@daily a\nPATH="/opt/bin:/bin"\n LANG = C.UTF-8 \nMAILTO=ops@example.org\nCRON_TZ=Asia/Tokyo\n@daily b\n'
        )
        text += 'MAILTO=""\n@daily c\n'
        first, second, third = read(text).jobs
        assert "env" not in first.table and "tz" not in first.table and first.notes == ()
        assert (
            second.table["env"] == {"PATH": "/opt/bin:/bin", "LANG": "C.UTF-8"} and second.table["tz"] == "Asia/Tokyo"
        )
        assert second.notes == (
            "Its output was mailed to ops@example.org; here it is kept, and `alert` tells of failures.",
        )
        assert third.notes == ()

    def test_home_and_shell(self) -> None:
        (found,) = read("HOME=/srv\nSHELL=/bin/bash\n* * * * * [[ -e 'a b' ]] && x\n", home="/home/ada").jobs
        assert found.table["cwd"] == "/srv" and "env" not in found.table
        assert found.table["shell"] == """exec /bin/bash -c '[[ -e '"'"'a b'"'"' ]] && x'"""

    def test_a_random_delay_is_jitter(self) -> None:
        first, second = read("RANDOM_DELAY=30\n@daily a\nRANDOM_DELAY=0\n@daily b\n").jobs
        assert first.table["jitter"] == "30m" and "RANDOM_DELAY is `jitter` here" in first.notes[0]
        assert "jitter" not in second.table and second.notes == () and "env" not in first.table

    def test_of_real_ones(self) -> None:
        """Names, ranges with steps, lists, several lines of one program, blanks between, empty MAILTO."""
        text = (
            "SHELL=/bin/bash\nPATH=/usr/bin:/bin\nMAILTO=\n\n"
            "*/15 8-18/2 1,15 jan-mar,Nov MON-FRI  ./manage.py send_queued_mail >> /var/log/mail.log 2>&1\n"
            '0 22 * * 1-5\tmail -s "It\'s 10pm" joe%Joe,%%Where are your kids?%\n'
            '23 0-23/2 * * * echo "run 23 minutes after midn, 2am, 4am ..., everyday"\n'
            "  0   7 * * 5-7    /opt/spaces.sh   arg\n"
        )
        found = read(text)
        assert found.problems == ()
        assert [(each.name, each.table["cron"]) for each in found.jobs] == [
            ("send_queued_mail", "*/15 8-18/2 1,15 jan-mar,Nov MON-FRI"),
            ("mail", "0 22 * * 1-5"),
            ("echo", "23 0-23/2 * * *"),
            ("spaces", "0 7 * * 5-7"),
        ]


class TestPercents:
    def test_one_that_is_escaped_is_plain(self) -> None:
        assert job(r"0 0 * * * date +\%Y-\%m").table["shell"] == "date +%Y-%m"

    def test_others_feed_the_command(self, tmp_path: Path) -> None:
        """As cron does: what stands behind the first is its input, the others end lines (crontab(5))."""
        shell = job(r"0 0 * * * cat - /dev/null%it's \%1%%last").table["shell"]
        assert subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True).stdout == "it's %1\n\nlast\n"
        shell = job("0 0 * * * cat%ends with one%").table["shell"]
        assert subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True).stdout == "ends with one\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("@fortnightly x", "line 1 cannot be carried over: @fortnightly is none of @yearly, "),
        ("0~30 1 * * * x", "line 1 cannot be carried over: 0~30 is a time by chance; give one, and `jitter`."),
        ("* * * * *", "line 1 cannot be carried over: it has 5 fields: five and a command are needed."),
        ("nonsense", "line 1 cannot be carried over: it has 1 fields"),
        ("@daily", "line 1 cannot be carried over: it has no command."),
        ("61 * * * * x", 'line 1 cannot be carried over: cron is "61 * * * *": bad minute'),
        ("0 0 30 2 * x", 'cron is "0 0 30 2 *"'),
        ("CRON_TZ=Mars/Base\n@daily x", "tz is 'Mars/Base', which is no time zone"),
    ],
)
def test_what_cannot_be_carried_over_is_said(line: str, told: str) -> None:
    found = read(line + "\n@daily good")
    assert [each.name for each in found.jobs] == (["good"] if "CRON_TZ" not in line else [])
    assert told in found.problems[0]


def test_names_say_what_is_run_and_are_each_their_own() -> None:
    lines = [
        "cd /srv/shop && .venv/bin/python manage.py clearsessions --verbosity 0",
        "/usr/bin/env LANG=C nice -n 10 /opt/x/report.py",
        "flock -n /tmp/l sh -c './sync.sh; done'",
        "/opt/x/report.py again",
        "[ -d /x ]",
        "2>&1",
        'unbalanced "quote',
        "sleep 60 && /srv/shop/bin/start.sh",
        "flock -n /tmp/x.lock timeout 5m /opt/run",
        "sh -c 'sleep 5; late'",
    ]
    found = read("\n".join(f"@daily {line}" for line in lines))
    assert found.problems == ()
    assert [each.name for each in found.jobs] == [
        "clearsessions",
        "report",
        "sync",
        "report-2",
        "x",
        "job",
        "unbalanced",
        "start",
        "run",
        "late",
    ]


def test_any_text_becomes_the_toml_that_means_it() -> None:
    table = {"shell": 'a "b" \\ \t\x01\x7f é 🦆 \'', "env": {"A B": "1"}, "retry": 3, "enabled": True, "at": ["1", "2"]}
    text = automation_table("a.b", table, ("two\nlines",))
    assert tomllib.loads(text) == {"automations": {"a.b": table}}
    assert text.startswith('# two lines\n[automations."a.b"]\n')
