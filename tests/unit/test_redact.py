"""What is a secret, what is none, and that no form of a known one passes."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from urllib.parse import quote

import pytest

from celery_triage.redact import MaskingFailed, Redactor, clean, cut, is_secret_name, tail

SECRET = "pA5s/w@rd+ü\"'#1"


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(b"k" * 32)


def test_a_url_keeps_everything_but_its_password(redactor):
    """Scheme, user, host, port and database are what a diagnosis needs."""
    masked = redactor.value("CELERY_RESULT_BACKEND", "db+postgresql://postgres:abc@postgres:5432/ai_backend")
    assert masked == f"db+postgresql://postgres:{redactor.token('abc')}@postgres:5432/ai_backend"


def test_equal_secrets_have_equal_tokens_and_others_differ(redactor):
    """Two services with different passwords must be seen to differ; spelling does not count."""
    plain = redactor.value("POSTGRES_PASSWORD", "p@ss")
    assert plain in redactor.value("DATABASE_URL", "postgresql://u:p%40ss@h/d")
    assert plain not in redactor.value("DATABASE_URL", "postgresql://u:p%40st@h/d")


def test_tokens_of_two_runs_have_nothing_in_common():
    """The key is random: nobody can try passwords against a published token."""
    assert len({Redactor().token("hunter2") for _ in range(20)}) == 20


def test_a_token_can_stand_in_a_url(redactor):
    """What is masked is still parsed as a URL by the checks."""
    from urllib.parse import urlsplit

    parts = urlsplit(redactor.text("redis://:geheim@redis:6379/0"))
    assert (parts.hostname, parts.port, parts.password) == ("redis", 6379, redactor.token("geheim"))


@pytest.mark.parametrize(
    "url",
    [
        "db+postgresql://u:{}@postgres:5432/ai_backend",
        "redis://:{}@redis:6379/0",
        "amqp://u:{}@h1:5672//",
        "mongodb://u:{}@m/db?authSource=admin",
        "sentinel://:{}@h:26379",
    ],
)
@pytest.mark.parametrize(
    "password", ["p@ss", "p@ss/w#rd", "p#ss", "p/ss", "12/34", "a:b", "p?ss", "p@s@s", "[x"]
)
def test_passwords_that_were_not_escaped_are_masked_whole(redactor, url, password):
    """What stands before the last sensible ``@`` of a variable's value is the password, however it breaks
    URLs."""
    text = url.format(password)
    masked = redactor.value("X_URL", text)
    assert masked == url.format(redactor.token(password))


@pytest.mark.parametrize(
    "text",
    [
        "redis://redis:6379/0",
        "db+postgresql://u@h/d",
        "http://host:8080/a@b",
        "redis://:${REDIS_PASSWORD}@redis:6379/0",
        "db+postgresql://${USER}:${POSTGRES_PASSWORD}@postgres/x",
        "redis://:**@redis:6379/0",
        "sqla+sqlite:///x.db",
        "http://[::1]:9091/metrics",
        "amqp://h1//;amqp://h2//",
        "rpc://",
    ],
)
def test_urls_without_a_secret_stay_as_they_are(redactor, text):
    """References to variables and passwords that Celery has masked itself say something, and hide nothing."""
    assert redactor.value("X_URL", text) == text
    assert redactor.text(f"see {text} there") == f"see {text} there"


def test_every_url_of_a_list_is_masked(redactor):
    """Kombu takes several brokers in one value."""
    masked = redactor.value("BROKER", "amqp://u:one@h1//;amqp://u:two@h2//")
    assert masked == f"amqp://u:{redactor.token('one')}@h1//;amqp://u:{redactor.token('two')}@h2//"


def test_a_key_without_a_password_is_masked_in_http(redactor):
    """A Sentry address and a token for a package index have their secret in the place of the user."""
    assert redactor.value("SENTRY_DSN", "https://0123456789abcdef@sentry.io/42") == (
        f"https://{redactor.token('0123456789abcdef')}@sentry.io/42"
    )


@pytest.mark.parametrize(
    "text",
    [
        'FATAL: password authentication failed for user "postgres"',
        "redis.exceptions.AuthenticationError: AUTH <password> called without any password configured",
        "(1045, \"Access denied for user 'u'@'h' (using password: YES)\")",
        "Error: No such option: --queue (Possible options: --exclude-queues, --queues)",
        "[2025-12-06 21:15:23,554: INFO/MainProcess] Connected to redis://redis:6379/0",
        '(psycopg.OperationalError) FATAL: database "ai_backend" does not exist',
        "routing_key=celery exchange=celery token_ttl=300 max_tokens=5",
        "KeyError: 'CELERY_BROKER_URL'",
        "email_worker@0dfd1b61c619 ready.",
        "PWD=/app OLDPWD=/ GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D",
        "POSTGRES_PASSWORD_FILE=/run/secrets/postgres",
    ],
)
def test_what_a_diagnosis_lives_on_stays(redactor, text):
    """The words of the errors that the checks look for are not taken for secrets."""
    assert redactor.text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "POSTGRES_PASSWORD={}",
        "password: {}",
        '{{"password": "{}", "x": 1}}',
        "{{'api_key': '{}'}}",
        "--password {}",
        "--password={}",
        "['--password', '{}']",
        '["--requirepass","{}"]',
        "conn: password={} user=x",
        "redis-server --requirepass {}",
        "redis-cli -a {} ping",
        "mysqladmin -uroot -p{} ping",
        "Connection(token='{}')",
        "Authorization: Bearer {}",
        "'Authorization': 'Basic {}'",
        "GET /x?api_key={}&a=1",
        'SECRET_KEY = "{}"',
        "host=h password={} dbname=d",
        '\\"password\\": \\"{}\\"',
        "dbPassword: {}",
        "aws_secret_access_key => {}",
        "curl -u admin:{} http://h/",
        "X-Api-Key: {}",
        "Set-Cookie: sid={}; Path=/",
        "{{b'password': b'{}'}}",
        "PGPASSWORD={} psql",
        "FLOWER_BASIC_AUTH=admin:{}",
        "celery flower --basic-auth=admin:{}",
        "[INFO] https://{}@github.com/x.git",
        "jdbc:postgresql://u:{}@h/d",
    ],
)
@pytest.mark.parametrize("secret", ["hunter2hunter2", "x9", "Tr0ub4dor&3"])
def test_secrets_in_position_are_masked_in_any_text(redactor, text, secret):
    """Names, options, headers, queries and connection strings, in shells, JSON, Python and prose."""
    masked = redactor.text(text.format(secret))
    assert secret not in masked
    assert redactor.token(secret) in masked or "***" in masked


@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "xoxb-123456789012-abcdefghijkl",
        "sk_live_0123456789abcdef",
    ],
)
def test_well_known_shapes_are_masked_anywhere(redactor, secret):
    """Tokens that can be told by their look need no name beside them."""
    assert redactor.text(f"got {secret} from there") == f"got {redactor.token(secret)} from there"


def test_a_private_key_over_several_lines_is_masked_and_what_follows_is_not(redactor):
    """A log that only mentions the words loses nothing behind them."""
    lines = [
        "before",
        "-----BEGIN RSA PRIVATE KEY-----",
        "MIIEowIBAAKCAQEA",
        "abcd==",
        "-----END RSA PRIVATE KEY-----",
        "after",
        "-----BEGIN CERTIFICATE-----",
        "MIIC",
        "saw -----BEGIN PRIVATE KEY----- in it",
        "ready",
    ]
    masked = redactor.lines(lines)
    assert [masked[at] for at in (0, 1, 4, 5, 6, 7, 9)] == [lines[at] for at in (0, 1, 4, 5, 6, 7, 9)]
    assert masked[2] == masked[3] and masked[2].startswith("***")


def test_a_private_key_on_one_line_is_masked(redactor):
    """Variables hold keys with written line ends."""
    masked = redactor.text("x -----BEGIN PRIVATE KEY-----\\nMIIEow\\nIBAAK\\n-----END PRIVATE KEY----- y")
    assert "MIIEow" not in masked and masked.endswith("-----END PRIVATE KEY----- y")


@pytest.mark.parametrize(
    "form",
    [
        lambda s: s,
        lambda s: quote(s, safe=""),
        lambda s: re.sub("%..", lambda found: found[0].lower(), quote(s)),
        lambda s: json.dumps(s)[1:-1],
        lambda s: json.dumps(json.dumps({"x": s})),
        lambda s: base64.b64encode(s.encode()).decode(),
        lambda s: base64.b64encode(b"user:" + s.encode()).decode(),
        lambda s: base64.urlsafe_b64encode(b"u:" + s.encode()).decode(),
        lambda s: repr(s),
        lambda s: html.escape(s),
    ],
)
def test_a_known_secret_is_found_in_every_form(redactor, form):
    """Plain, URL-encoded, JSON-escaped once and twice, inside base64, as Python and HTML write it."""
    redactor.learn_env({"POSTGRES_PASSWORD": SECRET})
    text = f"line with {form(SECRET)} in it"
    assert redactor.token(SECRET) in redactor.text(text)
    assert redactor.find_leaks(text)
    assert not redactor.find_leaks(redactor.text(text))


def test_secrets_are_learnt_from_urls_commands_and_defaults(redactor):
    """Whatever a configuration holds in position is known everywhere else."""
    redactor.learn_env(
        {"DATABASE_URL": "postgresql://u:first%40secret@h/d", "X": "${Y_PASSWORD:-second-secret}"}
    )
    redactor.learn_argv(["redis-server", "--requirepass", "third-secret"])
    text = "saw first@secret and first%40secret and third-secret"
    assert redactor.text(text) == (
        f"saw {redactor.token('first@secret')} and {redactor.token('first@secret')} "
        f"and {redactor.token('third-secret')}"
    )
    assert redactor.value("Y_PASSWORD", "${Y_PASSWORD:-second-secret}").startswith("${Y_PASSWORD:-***")


def test_public_words_and_short_secrets_are_masked_only_in_position(redactor):
    """A password that is also the user's name would otherwise take the word out of every error message."""
    redactor.publish(["ai_backend_user"])
    redactor.learn_env(
        {"POSTGRES_PASSWORD": "postgres", "REDIS_PASSWORD": "abc", "DB_PASSWORD": "ai_backend"}
    )
    assert redactor.known() == []
    assert redactor.text("postgres: abc at ai_backend") == "postgres: abc at ai_backend"
    assert "ai_backend" not in redactor.value("DB_PASSWORD", "ai_backend")


def test_nothing_is_learnt_from_logs(redactor):
    """Whoever writes a log could otherwise choose which words vanish from the evidence."""
    redactor.lines(["password=ready-to-work"])
    assert redactor.text("worker ready-to-work") == "worker ready-to-work"


def test_masking_twice_changes_nothing_more(redactor):
    """Masked text passes the mask again where a section is looked at once more."""
    redactor.learn_env({"A_TOKEN": "0123456789"})
    for text in (
        "redis://:pw@h/0",
        "password=x, user=y",
        "--token 0123456789",
        "Authorization: Basic abcdefgh",
    ):
        once = redactor.text(text)
        assert redactor.text(once) == once


def test_data_is_masked_by_its_keys_and_values(redactor):
    """A secret may stand under a name that says so, in a list, or inside a text."""
    masked = redactor.data(
        {"password": "abc", "list": ["redis://:abc@h/0"], "n": 3, "tokens": None, "secrets": ["abc"]}
    )
    token = redactor.token("abc")
    assert masked == {
        "password": token,
        "list": [f"redis://:{token}@h/0"],
        "n": 3,
        "tokens": None,
        "secrets": [token],
    }


def test_a_command_line_is_masked_word_by_word(redactor):
    """The secret may be the word behind the option, a part of a word, or inside a shell line."""
    assert redactor.argv(["redis-server", "--requirepass", "abc", "--port", "6379"]) == [
        "redis-server",
        "--requirepass",
        redactor.token("abc"),
        "--port",
        "6379",
    ]
    assert (
        redactor.argv(["celery", "-b", "redis://:abc@h/0", "worker"])[2]
        == f"redis://:{redactor.token('abc')}@h/0"
    )
    assert redactor.argv(["sh", "-c", "exec redis-server --requirepass abc"])[2].endswith(
        redactor.token("abc")
    )
    assert redactor.argv(["celery", "worker", "--queue=mail", "-n", "w@%h"]) == [
        "celery",
        "worker",
        "--queue=mail",
        "-n",
        "w@%h",
    ]


def test_leaks_are_searched_in_every_file_of_a_folder(redactor, tmp_path):
    """The search before publishing names file and token, never the secret; links are not followed."""
    redactor.learn_env({"POSTGRES_PASSWORD": SECRET})
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "deep").mkdir()
    (tmp_path / "in" / "deep" / "a.html").write_text(f"<p>{html.escape(SECRET)}</p>")
    (tmp_path / "in" / "b.bin").write_bytes(b"\xff\x00" + SECRET.encode())
    (tmp_path / "in" / "c.txt").write_text("nothing")
    (tmp_path / "outside").write_text(SECRET)
    (tmp_path / "in" / "link").symlink_to(tmp_path / "outside")
    found = redactor.find_leaks(tmp_path / "in")
    assert found == sorted(
        f"{name} holds the secret {redactor.token(SECRET)}" for name in ("b.bin", "deep/a.html")
    )
    assert SECRET not in "".join(found)


def test_what_one_process_learnt_another_can_adopt(redactor):
    """The secrets that a probe finds in a Compose file are known to its parent, with equal tokens."""
    redactor.learn_env({"A_TOKEN": "0123456789"})
    other = Redactor()
    other.adopt(json.loads(json.dumps(redactor.export())))
    assert other.text("0123456789") == redactor.token("0123456789")


def test_masking_that_fails_shows_nothing_of_it(redactor, monkeypatch):
    """The exception that leaves has a status for the section and no text of what it failed on."""
    monkeypatch.setattr("celery_triage.redact.positions.everything", lambda *_, **__: {}["s3cret"])
    with pytest.raises(MaskingFailed) as raised:
        redactor.text("s3cret")
    assert raised.value.status == "withheld" and "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None and raised.value.__suppress_context__


@pytest.mark.parametrize(
    "raw, text",
    [
        (b"caf\xe9 \xff", "caf\\xe9 \\xff"),
        ("\ud800x", "\\ud800x"),
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\x00b\x08c\x7f\x9bd", "abc"),
        ("abc\u202egnp.exe", "abcgnp.exe"),
        ("tab\tand\nline\r\n", "tab\tand\nline\n"),
        ("ü€\U0001f600", "ü€\U0001f600"),
        ("\x1b[", ""),
        ("a\u2028b\u200bc", "abc"),
    ],
)
def test_text_is_made_plain(raw, text):
    """Whatever a container writes can be shown in a terminal and a page without doing anything there."""
    assert clean(raw) == text


def test_cutting_comes_after_masking(redactor):
    """A secret at the cut is a token before the line is shortened, never half of itself."""
    line = "x" * 80 + " password=0123456789"
    assert "0123" not in redactor.text(line, 96)
    assert cut("abcdef" * 10, 20).endswith("(cut)") and len(cut("abcdef" * 10, 20)) == 20


def test_a_tail_drops_whole_lines():
    """A partial first line could be the second half of a secret."""
    assert tail(["aaaa", "bbbb", "cccc"], 10) == (["bbbb", "cccc"], 5)
    assert tail(["aaaa"], 10) == (["aaaa"], 0)


@pytest.mark.parametrize(
    "name, secret",
    [
        ("POSTGRES_PASSWORD", True),
        ("dbPassword", True),
        ("--db-password", True),
        ("DB_PASS", True),
        ("API_KEY", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("AWS_ACCESS_KEY_ID", True),
        ("PRIVATE_KEY", True),
        ("STRIPE_KEY", True),
        ("CREDENTIALS", True),
        ("accesstoken", True),
        ("FLOWER_BASIC_AUTH", True),
        ("SLACK_WEBHOOK_URL", True),
        ("DJANGO_SECRET_KEY2", True),
        ("MYSQL_PWD", True),
        ("PWD", False),
        ("POSTGRES_PASSWORD_FILE", False),
        ("TOKEN_TTL", False),
        ("routing_key", False),
        ("GPG_KEY", False),
        ("POSTGRES_HOST_AUTH_METHOD", False),
        ("DATABASE_URL", False),
        ("tokens", False),
        ("CELERY_BROKER_URL", False),
        ("KEYBOARD", False),
        ("AWS_REGION", False),
        ("compass", False),
        ("x" * 300, False),
    ],
)
def test_names_of_secrets(name, secret):
    """A name is judged by its words; what only speaks about a secret is none."""
    assert is_secret_name(name) is secret


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6,
        "password=" * 10**5,
        "://" * 3 * 10**5,
        "http://a:" * 10**5,
        "-----BEGIN " * 9 * 10**4,
        "-----BEGIN PRIVATE KEY-----" * 4 * 10**4,
        "\x1b[" * 5 * 10**5,
        "\x1b]" * 5 * 10**5,
        "--a " * 2 * 10**5,
        "password='" + "\\" * 10**6,
        "eyJ" * 3 * 10**5 + "pass",
        "authorization: " * 7 * 10**4,
        "secret:[[" * 10**5,
        "?a;" * 3 * 10**5 + "pass=",
        "@:/" * 3 * 10**5 + "://",
        "${A:-" * 2 * 10**5 + "password",
        "a.b-" * 2 * 10**5 + "=",
        "password" + " " * 10**6 + "=",
        "\n" * 10**6 + "pass",
        "pass=" + "(" * 10**6,
    ],
    ids=lambda text: repr(text[:14]),
)
def test_the_time_is_linear_in_the_length(redactor, text):
    """A megabyte of what would make a careless pattern backtrack is masked within seconds."""
    start = time.perf_counter()
    redactor.text(text)
    redactor.value("NAME", text)
    assert time.perf_counter() - start < 8


@pytest.mark.parametrize(("text", "secret"), [
    ("failed to resolve host '77c1d0@postgres': [Errno -2] Name or service not known", "77c1d0"),
    ('could not translate host name "77c1d0@postgres" to address: Name or service not known', "77c1d0"),
    ("failed to resolve host 'a1b2@77c1d0@postgres': [Errno -2]", "a1b2@77c1d0"),
    ("Error -2 connecting to 77c1d0@redis:6379. Name or service not known.", "77c1d0"),
    ("ValueError: Port could not be cast to integer value as 'lab'", "lab"),
])
def test_what_a_wrong_url_made_of_a_password_is_masked(redactor, text, secret):
    """An unescaped character cuts the password, and the message names the piece as a host or a port."""
    masked = redactor.text(text)
    assert masked == text.replace(secret, redactor.token(secret))


@pytest.mark.parametrize("text", [
    "failed to resolve host 'postgres': [Errno -2] Name or service not known",
    "Port could not be cast to integer value as '${PORT}'",
    "email_worker@8f2a11 ready, its host 'db' known",
])
def test_hosts_and_ports_that_hide_nothing_stay(redactor, text):
    """They are what a diagnosis lives on."""
    assert redactor.text(text) == text


@pytest.mark.parametrize("text", [
    "Failed to create cookie file '/var/lib/rabbitmq/.erlang.cookie': eacces",
    "/usr/lib/plugin/caching_sha2_password.so: cannot open shared object file: No such file or directory",
    "open /run/secrets/db_password: no such file or directory",
])
def test_what_is_said_of_a_file_is_no_secret(redactor, text):
    """The path of a file may have a secret's name; what a program says of the file must stay readable."""
    assert redactor.text(text) == text
