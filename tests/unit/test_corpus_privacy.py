"""Secrets of many kinds among look-alikes: what is masked, what stays, what is never shown."""

import hashlib
import logging
import random
import string

import pytest

from midfill.config.corpus.rules import PrivacyConfig
from midfill.corpus.rules.privacy import PRIVATE_V4, PRIVATE_V6, mask

LETTERS = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"
SEEDS = 20


def made(alphabet: str, length: int, seed: int) -> str:
    """Random characters with a digit among them: made here, nobody's secret."""
    choose = random.Random(f"{alphabet}{length}{seed}")
    text = [choose.choice(alphabet) for _ in range(length)]
    text[choose.randrange(length // 2)] = next(c for c in alphabet[::-1] if c in "9")
    return "".join(text)


def secrets(seed: int) -> dict[str, str]:
    """One made-up secret of each kind. Written in parts, so that no scanner takes it for real."""
    jwt = [
        "ey" + "J" + made(LETTERS, 20, seed),
        "ey" + "J" + made(LETTERS, 60, seed),
        made(LETTERS, 43, seed),
    ]
    key = "\n".join(made(LETTERS + "+/", 64, seed + at) for at in range(8))
    begin = "-----BEGIN RSA " + "PRIVATE KEY-----"
    aws = "".join(c for c in made("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" + "9", 40, seed) if c != "9")
    return {
        "aws_key": "AK" + "IA" + aws[:16],
        "google_api_key": "AI" + "za" + made(LETTERS + "_-", 34, seed) + "x",
        "google_oauth": "ya" + "29." + made(LETTERS, 60, seed),
        "github_token": "gh" + "p_" + made(LETTERS, 36, seed),
        "github_fine_token": "github" + "_pat_" + made(LETTERS, 22, seed) + "_" + made(LETTERS, 59, seed),
        "gitlab_token": "gl" + "pat-" + made(LETTERS, 20, seed),
        "slack_token": "xo" + "xb-" + made("0123456789", 12, seed) + "-" + made(LETTERS, 24, seed),
        "slack_webhook": "https://hooks.slack" + f".com/services/T{made(UPPER, 8, seed)}/B{made(UPPER, 8, seed)}/{made(LETTERS, 24, seed)}",
        "stripe_key": "sk" + "_live_" + made(LETTERS, 24, seed),
        "twilio_key": "S" + "K" + made(HEX, 32, seed),
        "sendgrid_key": "S" + "G." + made(LETTERS, 22, seed) + "." + made(LETTERS, 43, seed),
        "npm_token": "np" + "m_" + made(LETTERS, 36, seed),
        "pypi_token": "py" + "pi-AgE" + made(LETTERS + "_-", 120, seed),
        "anthropic_key": "sk" + "-ant-api03-" + made(LETTERS, 80, seed),
        "openai_key": "s" + "k-" + made(LETTERS, 48, seed),
        "jwt": ".".join(jwt),
        "hugging_face_token": "h" + "f_" + "".join(c for c in made(string.ascii_letters + "9", 60, seed) if c != "9")[:34],
        "digitalocean_token": "dop" + "_v1_" + made(HEX, 64, seed),
        "shopify_token": "shp" + "at_" + made(HEX, 32, seed),
        "mailgun_key": "ke" + "y-" + made(HEX, 32, seed),
        "square_token": "sq" + "0atp-" + made(LETTERS, 22, seed),
        "age_key": "AGE-SECRET" + "-KEY-1" + made(UPPER, 58, seed),
        "docker_token": "dckr" + "_pat_" + made(LETTERS, 27, seed),
        "rubygems_key": "ruby" + "gems_" + made(HEX, 48, seed),
        "azure_storage_key": "Account" + "Key=" + made(LETTERS + "+/", 86, seed) + "==",
        "private_key": f"{begin}\n{key}\n{begin.replace('BEGIN', 'END')}",
        "url_password": f"postgres://app:{made(LETTERS, 14, seed)}@db.cosmos-lab.io:5432/main",
        "password": f'password = "{made(LETTERS + "!+", 12, seed)}"',
        "generic_key": f"api_key: '{made(LETTERS, 32, seed)}'",
        "email": f"{made(LOWER, 8, seed)}.smith@cosmos-lab.io",
        "ipv4": f"{40 + seed}.{100 + seed}.33.77",
        "ipv6": f"2a02:26f0:{made(HEX, 4, seed)}::{made(HEX, 3, seed)}",
    }  # fmt: skip


def value_of(kind: str, secret: str) -> str:
    """The part that must not stay."""
    if kind == "private_key":
        return secret.split("\n")[3]
    if kind in ("password", "generic_key"):
        return secret.split(secret[-1])[1]
    return secret.split(":")[2].split("@")[0] if kind == "url_password" else secret[-8:]


WAYS = ['value = "{}"\n', "# see {}\n", "{}", "  connect('{}', retry=True)\r\n", "export X={}\n"]
NEEDS_A_NAME = {"password", "generic_key"}


@pytest.mark.parametrize("kind", secrets(0))
def test_each_kind_is_found(kind: str):
    for seed in range(SEEDS):
        secret = secrets(seed)[kind]
        for way in ["{}\n"] if kind in NEEDS_A_NAME else WAYS:
            before = "import x\n" + way.format(secret)
            masked = mask(before)
            assert masked.counts == {kind: 1}, (kind, seed, way)
            assert value_of(kind, secret) not in masked.text


def test_placeholders():
    one = secrets(1)
    assert mask(one["github_token"]).text == "<KEY>"
    assert mask(f"a {one['email']} b").text == "a <EMAIL> b"
    assert mask(one["password"]).text == 'password = "<PASSWORD>"'
    assert mask(one["generic_key"]).text == "api_key: '<KEY>'"
    assert mask(one["url_password"]).text == "postgres://app:<PASSWORD>@db.cosmos-lab.io:5432/main"
    first, *_, last = one["private_key"].split("\n")
    assert mask(one["private_key"]).text == f"{first}\n<KEY>\n{last}"


ASSIGNMENTS = [
    "password = '{}'",
    'PASSWORD="{}"',
    'db_password: "{}"',
    '"password": "{}",',
    "config['password'] = '{}'",
    "passwd => '{}'",
    "DB_PASSWORD={}",
    "user.password := `{}`",
]


@pytest.mark.parametrize("way", ASSIGNMENTS)
def test_how_passwords_are_assigned(way: str):
    value = "Kq7!vexing"
    masked = mask(way.format(value) + "\n")
    assert masked.text == way.format("<PASSWORD>") + "\n"
    assert masked.counts == {"password": 1}


GIT = hashlib.sha1(b"git").hexdigest()
SHA = hashlib.sha256(b"sha").hexdigest()
LOOK_ALIKES = [
    f"commit {GIT}",
    f'REVISION = "{GIT}"',
    f'sha256 = "{SHA}"',
    f'"integrity": "sha512-{SHA}=="',
    f'{{ url = "https://x.io/a.tar.gz", hash = "sha256:{SHA}" }}',
    f'token_sha256 = "{SHA}"',
    f'password_hash = "{SHA}"',
    f'checksum = "{SHA}"',
    "id = '123e4567-e89b-12d3-a456-426614174000'",
    "token = '123e4567-e89b-12d3-a456-426614174000'",
    'src="data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4"',
    "com.cosmos.lab.tokens.SecretKeyFactory.PasswordEncoder2",
    'token = "org.cosmos.security.oauth2.TokenStore"',
    'aws_key = "AKIAIOSFODNN7EXAMPLE"',
    "secret = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'",
    "password = 'changeme'",
    "password = 'password123'",
    "password = 'hunter2'",
    'password = "correct-horse-battery-staple"',
    'password = "${DB_PASSWORD}"',
    'password = "{{ vault_password2 }}"',
    'password = "<your password 1>"',
    "password = '%(password)s1'",
    "password = os.environ['DB_PASSWORD_1']",
    "password = getpass.getpass()",
    "password=password1, token=token2)",
    "def login(password: str, token: Token2) -> None:",
    'token_url = "https://accounts.cosmos-lab.io/oauth2/v4/token"',
    "next_token = 'q8Zr4TkLw2Xv9Bn3Mj7Hf5'",
    'token_type = "Bearer2"',
    "password = 'new_password2'",
    "api_key = 'YOUR_API_KEY_HERE_1234'",
    "api_key = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxx1'",
    'secret_name = "projects/cosmos/secrets/db-main-01"',
    'access_key = "aaaaaaaaaaaaaaaaaaaaaaaa11"',
    "token = 'identifier_or_keyword_2'",
    "mysql://root:root@localhost/db",
    "postgres://user:password@localhost/db",
    "https://user:${TOKEN}@cosmos-lab.io",
    "http://localhost:8080/@scope/package",
    "someone@example.com",
    "user@mail.example.org",
    "git@github.com:cosmos/lab.git",
    "icon@2x.png",
    "background@3x.webp",
    "react@16.8.0",
    "import x from '@scope/package'",
    "@decorator.method\ndef f(): pass",
    "C = a@b.T",
    "root@localhost",
    "version 1.2.3.4",
    'version = "10.20.30.40"',
    "package==2.14.0.3",
    "released in v4.18.2.1",
    "Chrome/120.0.6099.109 Safari/537.36",
    "sub-1.2.3.4-beta",
    "x = 1.2.3.4",
    "1.3.6.1.4.1.311.2",
    "127.0.0.1 192.168.1.1 10.0.0.1 0.0.0.0 255.255.255.0 169.254.1.2 172.16.0.5",
    "192.0.2.33 198.51.100.7 203.0.113.9",
    "8.8.8.8 and 1.1.1.1",
    "256.300.1.2",
    "57.0.0.0/8",
    "::1 fe80::1 2001:db8::7 std::vector<int>::iterator",
    "time 2021:10:20 and 3333:4444",
    "disk-usage task-runner-with-a-very-long-name-that-goes-on-123456",
    "sk-loading-spinner-container-for-all-of-the-pages",
    "key-value-store and key-deadbeef",
    "SKIP SKELETON SG.x eyJ hf_model npm_config_cache pypi-server ghp_ xoxo",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n",
    "-----BEGIN PUBLIC KEY-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n",
]


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_look_alikes_stay(text: str):
    masked = mask(text)
    assert (masked.text, dict(masked.counts)) == (text, {})


def test_recall_and_precision():
    """Prints both for a text that mixes everything; bounds, so that a change for the worse shows."""
    found = false = planted = 0
    for seed in range(SEEDS):
        for secret in secrets(seed).values():
            planted += 1
            found += sum(mask(secret + "\n").counts.values())
    for seed in range(200):
        plain = [made(HEX, 40, seed), made(HEX, 64, seed), made(LETTERS, 22, seed) + ".py"]
        for text in (f"commit = '{plain[0]}'", f"sha256: {plain[1]}", f"see {plain[2]}"):
            false += sum(mask(text).counts.values())
    false += sum(sum(mask(text).counts.values()) for text in LOOK_ALIKES)
    recall, precision = found / planted, found / (found + false)
    print(f"planted {planted}: recall {recall:.4f}, precision {precision:.4f}")
    assert recall >= 0.99
    assert precision >= 0.99


def test_one_address_has_one_replacement():
    address = "93.184.216.34"
    masked = mask(f"host {address}\nping {address}\n")
    first, second = (line.split()[1] for line in masked.text.splitlines())
    assert first == second
    assert first in PRIVATE_V4
    seen = {mask(f"host 93.184.216.{n}").text.split()[1] for n in range(10, 99)}
    assert seen == set(PRIVATE_V4)
    six = {mask(f"host 2a02:26f0::{n:x}").text.split()[1] for n in range(10, 99)}
    assert six == set(PRIVATE_V6)


def test_a_port_makes_small_numbers_an_address():
    assert mask("connect 5.6.7.9:8080").counts == {"ipv4": 1}
    assert mask("http://5.6.7.9/").counts == {"ipv4": 1}


def test_masking_twice_changes_nothing():
    text = "\n".join(secrets(3).values())
    once = mask(text)
    assert mask(once.text).text == once.text
    assert mask(once.text).counts == {}


def test_parts_can_be_switched_off():
    text = "\n".join(secrets(4).values())
    nothing = PrivacyConfig(keys=False, emails=False, addresses=False)
    assert mask(text, nothing).text == text
    assert set(mask(text, PrivacyConfig(keys=False, addresses=False)).counts) == {"email"}
    assert set(mask(text, PrivacyConfig(keys=False, emails=False)).counts) == {"ipv4", "ipv6"}


def test_names_are_masked_where_asked():
    line = "# Written by Ann Vega <ann@cosmos-lab.io>\n"
    assert mask(line).text == "# Written by Ann Vega <<EMAIL>>\n"
    named = mask(line, PrivacyConfig(names=True))
    assert named.text == "# Written by <NAME> <<EMAIL>>\n"
    assert named.counts == {"email": 1, "name": 1}
    notice = "# Copyright 2020 Ann Vega <ann@cosmos-lab.io>\n"
    assert mask(notice, PrivacyConfig(names=True)).text == notice.replace(
        "ann@cosmos-lab.io", "<EMAIL>"
    )


@pytest.mark.parametrize("wide", ["é", "中", "𝐀"])
def test_wide_text(wide: str):
    for kind, secret in secrets(5).items():
        masked = mask(f"{wide}\n{secret}\n{wide}")
        assert masked.counts == {kind: 1}
        assert masked.text.startswith(f"{wide}\n")
        assert masked.text.endswith(f"\n{wide}")


def test_nothing_tells_a_secret(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture):
    caplog.set_level(logging.DEBUG)
    for kind, secret in secrets(6).items():
        shown = repr(mask(secret))
        out = capfd.readouterr()
        for text in (shown, out.out, out.err, caplog.text):
            assert value_of(kind, secret) not in text


@pytest.mark.parametrize(
    "text",
    [
        "assert repo.password == s3cr3tPass9\n",
        "self.token = kJ8sdf98sdfJHsdf9Ksdf82\n",
    ],
)
def test_an_expression_is_no_secret(text: str):
    assert mask(text).text == text


def test_a_key_ends_with_its_string():
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ"
    text = f'key = """-----BEGIN PRIVATE KEY-----\n{body}\n"""\nx = 5\ny = 6\n'
    masked = mask(text).text
    assert body not in masked
    assert masked.endswith('"""\nx = 5\ny = 6\n')
