"""Where settings come from, and what is said of those that are wrong."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from duck.exceptions import SettingsError
from duck.settings import views
from duck.settings.declared.certificates import LETS_ENCRYPT_STAGING
from duck.settings.load import load
from duck.settings.schema import SETTINGS

_names = (f"duck_test_settings_{number}" for number in itertools.count())


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Settings modules of other tests are not this one's."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("settings", None)


def make_duck_project(directory: Path, settings: str) -> Path:
    (directory / "main.py").write_text("from duck.app import App\n")
    (directory / "settings.py").write_text(settings)
    return directory


def test_without_anything_every_setting_has_its_default(tmp_path: Path) -> None:
    settings = load({}, {}, tmp_path)
    assert list(settings) == list(SETTINGS)
    assert settings["PORT"] == 8000
    assert settings["ADDRESS"] == "localhost"
    assert settings["MAX_BODY_BYTES"] == 1 << 30
    assert str(settings.origin("PORT")) == "default"
    assert not settings.is_given("PORT")
    assert not settings.is_duck_project
    assert settings["TEMPLATE_DIRS"] == [tmp_path / "templates"]


def test_a_default_can_be_read_back_as_a_given_value(tmp_path: Path) -> None:
    for setting in SETTINGS.values():
        assert setting.kind.read(setting.default, tmp_path) is not None or setting.kind.optional
        if setting.check is not None:
            setting.check(setting.default)


def test_the_command_line_goes_before_the_environment_before_the_file_before_the_default(tmp_path: Path) -> None:
    (tmp_path / "manage.py").touch()
    (tmp_path / "duck.toml").write_text("port = 1\nname = 'a'\nprefix = '/x/'\n")
    environ = {"DUCK_PORT": "2", "DUCK_NAME": "b", "DJANGO_SETTINGS_MODULE": "not.ours"}
    settings = load({"PORT": "3", "NAME": None, "LISTEN": ()}, environ, tmp_path)
    assert [settings[name] for name in ("PORT", "NAME", "PREFIX", "DJANGO_SETTINGS_MODULE")] == [3, "b", "/x", None]
    origins = [str(settings.origin(name)) for name in ("PORT", "NAME", "PREFIX")]
    assert origins == ["command line --port", "environment DUCK_NAME", f"{tmp_path}/duck.toml:3"]


def test_an_empty_variable_counts_as_absent(tmp_path: Path) -> None:
    assert load({}, {"DUCK_PORT": ""}, tmp_path)["PORT"] == 8000


def test_duck_toml_is_found_beside_a_manage_py_one_level_below_or_named(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manage.py").touch()
    (tmp_path / "site" / "duck.toml").write_text('PORT = 7\nspool-dir = "spool"\n[body_limits]\n"/up/.*" = "5 MB"\n')
    settings = load({}, {}, tmp_path)
    assert settings["PORT"] == 7
    assert settings["SPOOL_DIR"] == tmp_path / "site" / "spool"
    assert settings["BODY_LIMITS"] == {"/up/.*": 5 << 20}
    assert load({"DJANGO_PROJECT": "site"}, {}, tmp_path)["PORT"] == 7
    assert load({"DJANGO_PROJECT": "site/manage.py"}, {}, tmp_path)["PORT"] == 7
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manage.py").touch()
    assert load({}, {}, tmp_path)["PORT"] == 8000


def test_a_duck_project_is_its_settings_beside_main(tmp_path: Path) -> None:
    make_duck_project(tmp_path, "import os\n_OWN = 1\nDEBUG = True\nif DEBUG:\n    PORT = 9\n")
    (tmp_path / "duck.toml").write_text("port = 1\n")
    settings = load({}, {}, tmp_path)
    assert settings.is_duck_project
    assert (settings["DEBUG"], settings["PORT"]) == (True, 9)
    assert str(settings.origin("PORT")) == f"{tmp_path}/settings.py:5"
    assert sys.path[0] == str(tmp_path)
    assert (settings["URLPATTERNS_MODULE"], settings["BASE_DIR"]) == ("urls", tmp_path)


def test_settings_beside_a_main_that_knows_no_duck_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import ducks\n")
    (tmp_path / "settings.py").write_text("raise SystemExit\n")
    assert not load({}, {}, tmp_path).is_duck_project


@pytest.mark.parametrize("by_path", [True, False])
def test_a_settings_module_can_be_named(tmp_path: Path, by_path: bool) -> None:
    name = next(_names)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / f"{name}.py").write_text("PORT = 9\n")
    settings = load({}, {"DUCK_SETTINGS_MODULE": f"conf/{name}.py" if by_path else f"conf.{name}"}, tmp_path)
    assert settings["PORT"] == 9
    assert settings["BASE_DIR"] == (tmp_path / "conf" if by_path else tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot = 8001", "{}:1: prot is no setting of Duck; did you mean port?"),
        ("x = 1\n", "{}:1: x is no setting of Duck; `duck settings` lists them all, and names that begin with"),
        ("\nport = 'http'", "{}:2: PORT cannot be 'http': give a port from 0 to 65535."),
        ("PORT = true", "{}:1: PORT cannot be True: give a port from 0 to 65535."),
        ("send_timeout = 0", "SEND_TIMEOUT cannot be 0: give seconds as a number, or a text like"),
        ("max_body_bytes = '1 XB'", "cannot be '1 XB': give bytes as a number, or a text like \"10MB\"."),
        (
            "request_timeout = 3\nhead_timeout = 4",
            "{}:2: HEAD_TIMEOUT sets HEAD_TIMEOUT, which is set already by",
        ),
        ("secret_key = 'short'", "SECRET_KEY cannot be used as it is: give at least 32 random characters"),
        ("trusted_proxies = ['10.0.0.1/8']", "'10.0.0.1/8' in it is wrong: give an address, a network like"),
        ("django_side_urls = ['(']", "'(' in it is wrong: as a regular expression it cannot be read"),
        ("django_side_urls = '/a'\nport=1", None),
        ("port = ", "{} is not TOML: Invalid value"),
        ("listen = ['ftp://a:1']", 'give "http://address:port", "https://address:port", "unix:/path" or "fd:N"'),
        ("allowed_hosts = ['a:80']", "'a:80' in it is not one: give names without port"),
        ("domain = 'http://x'", "DOMAIN cannot be 'http://x': give a host name or IP address, without scheme or path."),
        ("domains = ['a b']", "'a b' in it is wrong: give a host name or IP address"),
        ("domains = ['a..org']", '\'a..org\' in it is none: give names like "example.org" or "*.example.org"'),
        ("domains = ['*.*.org']", "'*.*.org' in it is none"),
        ("email = 'me'", "EMAIL cannot be 'me': give an e-mail address."),
        ("acme_directory = 'http://ca/dir'", "give an address that begins with https://"),
        (
            "acme_eab_hmac_key = 'a key in words'",
            "ACME_EAB_HMAC_KEY cannot be used as it is: give the key as the certificate",
        ),
        ("auto_reload = 'maybe'", "give true or false"),
        ("access_log = 'xml'", "give one of dev, text, json, combined, off"),
        ("settings_module = 'x'", "{}:1: settings_module is no setting"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_file_value_and_remedy(
    tmp_path: Path, text: str, sentence: str | None
) -> None:
    file = tmp_path / "duck.toml"
    file.write_text(text)
    if sentence is None:
        load({}, {}, tmp_path)
        return
    with pytest.raises(SettingsError) as caught:
        load({}, {}, tmp_path)
    assert sentence.format(file) in str(caught.value)
    assert "\n" not in str(caught.value).removesuffix("\n")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "DEBUG = True\nURLPATTERNS = 'web.urls'\n",
            "{}:2: URLPATTERNS is no setting of Duck; did you mean URLPATTERNS_MODULE?",
        ),
        ("x = 1\ny = x.z\n", "{}:2 cannot be run: AttributeError: 'int' object has no attribute 'z'."),
        ("x = (\n", "{}:1 cannot be run: SyntaxError: '(' was never closed."),
        ("INSTALLED_APPS = []\n", "{} is a Django settings module, not a Duck one: name it with --django-settings"),
    ],
)
def test_a_wrong_settings_module_is_one_sentence_too(tmp_path: Path, source: str, sentence: str) -> None:
    make_duck_project(tmp_path, source)
    with pytest.raises(SettingsError) as caught:
        load({}, {}, tmp_path)
    assert sentence.format(tmp_path / "settings.py") in str(caught.value)


def test_a_settings_module_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--settings: there is no Duck settings module web\.setings in "):
        load({"SETTINGS_MODULE": "web.setings"}, {}, tmp_path)


def test_wrong_options_and_variables_are_named_as_they_were_given(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--port: PORT cannot be '70000': give a port from 0 to 65535\.$"):
        load({"PORT": "70000"}, {}, tmp_path)
    with pytest.raises(SettingsError, match=r"^DUCK_PORT: PORT cannot be 'x'"):
        load({}, {"DUCK_PORT": "x"}, tmp_path)


def test_unknown_variables_are_warned_about_and_those_of_duckframework_are_not(tmp_path: Path) -> None:
    environ = {"DUCK_PROT": "1", "DUCK_SERVER_URL": "http://x", "DUCK_WORKERS": "2", "DUCKY": "1"}
    settings = load({}, environ, tmp_path)
    assert settings.warnings == (
        "The environment variable DUCK_PROT is no setting of Duck and has no effect; did you mean DUCK_PORT?",
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("HEAD_TIMEOUT", "5m", 300.0),
        ("HEAD_TIMEOUT", "250ms", 0.25),
        ("HEAD_TIMEOUT", "1.5", 1.5),
        ("PROXY_READ_TIMEOUT", "0", 0.0),
        ("MAX_BODY_BYTES", "10MB", 10 << 20),
        ("MAX_BODY_BYTES", "1.5 KiB", 1536),
        ("MAX_BODY_BYTES", "77", 77),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1,unix", ["10.0.0.0/8", "::1/128", "unix"]),
        ("DJANGO_SIDE_URLS", '["/a{1,2}"]', ["/a{1,2}"]),
        ("BODY_LIMITS", '{"/a": "1k"}', {"/a": 1024}),
        ("AUTO_RELOAD", "off", False),
        ("USE_DJANGO", "yes", True),
        ("DJANGO_ADDR", "http://127.0.0.1:9/", "127.0.0.1:9"),
        ("DJANGO_ADDR", "unix:/x", "unix:/x"),
        ("PREFIX", "/", "/"),
    ],
)
def test_text_is_read_as_the_type_of_the_setting(tmp_path: Path, name: str, text: str, value: object) -> None:
    assert load({}, {f"DUCK_{name}": text}, tmp_path)[name] == value


def test_aliases_give_and_read_the_same_setting(tmp_path: Path) -> None:
    settings = load({}, {"DUCK_REQUEST_TIMEOUT": "3"}, tmp_path)
    assert settings["HEAD_TIMEOUT"] == settings["REQUEST_TIMEOUT"] == 3.0


def test_values_can_be_replaced_as_an_app_does(tmp_path: Path) -> None:
    settings = load({}, {}, tmp_path).with_values(PORT=1, ADDRESS="::1")
    assert views.listening(settings).addresses[0].url == "http://[::1]:1"
    with pytest.raises(SettingsError, match="PORT cannot be 'x'"):
        settings.with_values(PORT="x")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("[duck]\nport = 1\n", "duck.toml:1: the settings stand at the top of duck.toml; leave [duck] out."),
        ('listen = ["here"]\n', "LISTEN cannot be ['here']: 'here' in it is wrong: give"),
    ],
)
def test_a_file_written_another_way_is_told_what_is_right(tmp_path: Path, written: str, sentence: str) -> None:
    (tmp_path / "duck.toml").write_text(written)
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        load({}, {}, tmp_path)


def test_a_repeated_option_is_shown_as_it_was_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--listen: LISTEN cannot be 'here': give"):
        load({"LISTEN": ("here",)}, {}, tmp_path)
    with pytest.raises(SettingsError, match="LISTEN cannot be 'fd:3, here': 'here' in it is wrong: give"):
        load({"LISTEN": ("fd:3", "here")}, {}, tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes of directories there")
def test_a_directory_that_may_not_be_looked_into_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir(mode=0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may look everywhere
    try:
        with pytest.raises(SettingsError, match="cannot be looked for: Permission denied"):
            load({"DJANGO_PROJECT": str(tmp_path / "site")}, {}, tmp_path)
    finally:
        if root:
            os.seteuid(0)


def test_all_that_is_wrong_can_be_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "duck.toml").write_text('port = "http"\nprot = 1\nhead_timeout = "-1"\naddress = "0.0.0.0"\n')
    problems: list[SettingsError] = []
    loaded = load({"NAME": "a b"}, {"DUCK_MAX_QUEUE": "many"}, tmp_path, problems)
    told = "\n".join(map(str, problems))
    assert len(problems) == 5, told
    for name in ("PORT cannot be 'http'", "did you mean port?", "HEAD_TIMEOUT", "--name", "DUCK_MAX_QUEUE"):
        assert name in told
    assert (loaded["PORT"], loaded["ADDRESS"]) == (8000, "0.0.0.0")
    assert not loaded.is_given("PORT")


@pytest.mark.parametrize(
    ("given", "environ", "toml", "domain"),
    [
        (("example.org", "www.example.org"), {}, "", "example.org"),
        (("*.example.org", "example.org"), {}, "", "example.org"),
        (("[2001:db8::1]",), {}, "", "2001:db8::1"),
        (("bücher.example",), {}, "", "bücher.example"),
        (("example.org",), {"DUCK_DOMAIN": "shop.example.org"}, "", "example.org"),
        (("example.org",), {}, "domain = 'shop.example.org'", "example.org"),
        ((), {"DUCK_DOMAIN": "shop.example.org"}, "domains = ['example.org']", "shop.example.org"),
        ((), {}, "domains = ['example.org']\ndomain = 'shop.example.org'", "shop.example.org"),
    ],
)
def test_the_first_domain_is_the_sites_name_unless_another_was_given(
    tmp_path: Path, given: tuple[str, ...], environ: dict[str, str], toml: str, domain: str
) -> None:
    (tmp_path / "duck.toml").write_text(toml)
    settings = load({"DOMAINS": given}, environ, tmp_path)
    assert settings["DOMAIN"] == domain
    assert views.listening(settings).domain == domain


def test_staging_is_known_of_lets_encrypt_alone(tmp_path: Path) -> None:
    assert views.certificates(load({}, {}, tmp_path)).staging == LETS_ENCRYPT_STAGING
    settings = load({"ACME_DIRECTORY": "https://ca.test/directory"}, {}, tmp_path)
    assert views.certificates(settings).staging is None
    settings = load({"ACME_DNS_HOOK": "hook --zone 'a b'"}, {}, tmp_path)
    assert views.certificates(settings).hook == ("hook", "--zone", "a b")


def test_an_account_that_an_authority_has_already_is_named_by_both_of_its_settings(tmp_path: Path) -> None:
    both = {"ACME_EAB_KID": "kid", "ACME_EAB_HMAC_KEY": "k" * 43}
    view = views.certificates(load(both, {}, tmp_path))
    assert view.eab == ("kid", "k" * 43) and "kkk" not in repr(view)
    assert views.certificates(load({}, {"DUCK_ACME_EAB_KID": "", "DUCK_ACME_EAB_HMAC_KEY": ""}, tmp_path)).eab is None
    for name, other in (("ACME_EAB_KID", "ACME_EAB_HMAC_KEY"), ("ACME_EAB_HMAC_KEY", "ACME_EAB_KID")):
        with pytest.raises(SettingsError, match=f"{name} is set and {other} is not; set both, or neither."):
            views.certificates(load({name: both[name]}, {}, tmp_path))
