r"""What secrets look like: the built-in detectors, one row each.

A detector has triggers, which are cheap and decide whether it looks at a text at all, and patterns, of which the group `secret`
(the whole match without one) is what gets replaced. Both are RE2 over bytes, so that text that is no UTF-8 hides nothing. What
an expression cannot say (a check digit, a word of prose) `accept` decides; it may also narrow the place.

The order is the order of precedence: where two detectors find the same place, the first names it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from tapio_otel.processors.redaction import checks

Accept: TypeAlias = "Callable[[bytes, checks.Sighting], checks.Place]"
"""Return the place of the secret in the text, given the text and where a pattern matched; None where it is none."""


class Detector(NamedTuple):
    """Say how one kind of secret is found."""

    name: str
    triggers: tuple[str, ...]
    patterns: tuple[str, ...]
    accept: Accept = checks.whole
    default: bool = True
    overlapping: bool = False
    """Whether to look again within what `accept` refused, behind its first blank or dash."""


_KEY = (
    r"(?:pass(?:word|wort|wd|phrase|code)|kennwort|pswd|[_-]pass|(?:ssh|store|key|db|user|root|admin|smtp|mail|ftp|ldap|pg)pass"
    r"|(?:wifi-sec|security)\.psk|redis(?:cli)?_auth|requirepass|masterauth|pwd|secret|token"
    r"|api[ _-]?key|secret_key_base|(?:secret|access) key"
    r"|(?:secret|access|account|shared|private|signing|encryption|auth|master|license)[_-]?(?:access[_-]?)?key)"
)
"""How the name of a secret ends."""
WEAK_NAME: Final = "pass|pw|psk"
_WEAK = rf"\b(?P<weak>)(?:{WEAK_NAME})"
"""Names that mean other things too: only where an equals sign or quotes follow, and what is no number."""
_QUOTE = r"(?:\\*[\"']|&(?:quot|#3[49]);|%2[27])"
_KEY_END = (
    r"(?:_?confirm(?:ation)?|[0-9]{1,2})?"
    + _QUOTE
    + r"?(?:\x1b\[[0-9;]*m)?(?:\[[0-9]*\]|%5b[0-9]*%5d|\]|%5d)?(?:[ \t]|\xc2\xa0)*"
)
_NAME = _KEY + _KEY_END
_EQUALS = r"(?:=>|:=|==?|%(?:25)?3d|\\+u003d|\xef\xbc\x9d)"
"""Signs between a name and its value: as they are, escaped for URLs and JSON, and as wide as Chinese letters."""
_COLON = r"(?::|%3a|\xef\xbc\x9a)"
_BARE = r"(?P<secret>(?:[^\s\"'\\]|\\[^\"'\s])+)"
_QUOTES = (
    r"\\+\"(?P<secret>[^\"]+)",
    r"\\+'(?P<secret>[^']+)",
    r"\"(?P<secret>(?:[^\"\\]|\\.)+)",
    r"'(?P<secret>(?:[^'\\]|\\.)+)",
)
_OPTION = r"(?:^|[\s\"'\[,(=])--?(?:[a-z0-9_.-]*[_.-])?" + _KEY + r"(?:_?confirm(?:ation)?)?"
_NEXT = r"(?:\\*[\"'])?(?:[ \t]+|[ \t]*,[ \t]*)(?:a[0-9]+=)?"
_ARGUMENT = r"(?:\\*\"(?P<secret>[^\"]+)|\\*'(?P<secret2>[^']+)|(?P<secret3>[^\s\"'\\-][^\s\"']*))"
_PARAMETERS = r"[\w-]+=(?:\\*\"[^\"]*\"|[^\s,\"']+)(?:[ \t]*,[ \t]*[\w-]+=(?:\\*\"[^\"]*\"|[^\s,\"']+))*"
_HEADER = r"authorization(?:\\*[\"'])?[ \t]*(?:=>|[:=]|%3a)[ \t]*\[?(?:\\*[\"'])?"
_SQL_CLIENTS = r"(?:^|[\s/\"'=])(?:mysql|mariadb|mycli|xtrabackup|mariabackup)[a-z-]*"
_NAMES = (_NAME, _WEAK + _KEY_END)
_VALUE_OF = r"[ \t,;]+\\*[\"']?value\\*[\"']?[ \t]*[:=][ \t]*"
"""What goes between the name and the value in `name="…" value="…"`, as lists of variables have it."""
_ISSUER = r"(?:[2-6][0-9]{3}|8[12][0-9]{2}|9792)"
_GROUPED = rf"{_ISSUER}[ -](?:[0-9]{{4}}[ -][0-9]{{4}}[ -][0-9]|[0-9]{{6}}[ -][0-9]{{4}})[0-9]*(?:[ -][0-9]{{3}})?"
_LINE_BREAKS = r"(?:[\s>|#]|\\+(?:[nrt]|u000[ad]))*"
"""As they are, escaped, or with what quotes a line in front."""
_KINDS = ("", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED ", "PGP ")


def _any_case(*patterns: str) -> tuple[str, ...]:
    return tuple(f"(?is){pattern}" for pattern in patterns)


def _encoded(beginning: bytes) -> str:
    """Return the base64 that any text with this beginning begins with."""
    return b64encode(beginning[: len(beginning) // 3 * 3]).decode()


_ENCODED_KEY = f"(?:{'|'.join(_encoded(f'-----BEGIN {kind}PRIVATE '.encode()) for kind in _KINDS)})"
"""How a block begins that is base64 once more, as Kubernetes writes secrets."""
_WHOLE_NAME = rf"(?:^|[._-])(?:{WEAK_NAME}|authorization|(?:set-)?cookie)"
SECRET_NAME: Final = rf"(?i)(?:{_KEY}(?:_?confirm(?:ation)?|[0-9]{{1,2}})?|{_WHOLE_NAME})$|[a-z](?-i:Pass)$"
"""The keys of attributes whose whole value is a secret."""
SECRET_OPTION: Final = f"(?i)^--?(?:[a-z0-9_.-]*[_.-])?{_KEY}$"
"""Elements of a list of arguments after which a secret comes."""

BUILTIN: Final = (
    Detector(
        "private_key",
        (r"PRIVATE KEY(?: BLOCK)?-----", _ENCODED_KEY),
        (
            r"(?s)-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----" + _LINE_BREAKS + r"(?P<secret>"
            r"(?:[A-Za-z0-9+/=]{12}|Proc-Type|Comment|Version).*?)(?:" + _LINE_BREAKS + r"-----END|\z)",
            r"(?P<secret>" + _ENCODED_KEY + r"[A-Za-z0-9+/=]*)",
            r"(?:\\+[nr])?(?P<secret>[A-Za-z0-9+/=]{16,}(?:(?:\s|\\+[nr])+[A-Za-z0-9+/=]+)*)(?:\s|\\+[nr])*"
            r"-----END[ A-Z0-9]{0,40}PRIVATE KEY",
        ),
    ),
    Detector(
        "jwt",
        (r"eyJ[A-Za-z0-9_-]{8}",),
        (r"(?P<secret>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]+)*)",),
    ),
    Detector("aws_access_key", (r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}",), (r"(?P<secret>A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16,124})",)),
    Detector(
        "aws_secret_key",
        (r"(?i)secret[_-]?(?:access[_-]?)?key",),
        _any_case(
            r"secret[_-]?(?:access[_-]?)?key(?:\\*[\"'])?[ \t]*(?:=>|:=|=|:|%3d|[ \t])[ \t]*(?:\\*[\"'])?"
            r"(?P<secret>[a-z0-9/+]{40}(?:[a-z0-9/+]*=*))"
        ),
    ),
    Detector(
        "gcp_key",
        (r"AIza[A-Za-z0-9_-]{16}", r"ya29\.[A-Za-z0-9_-]{8}", r"GOCSPX-[A-Za-z0-9_-]{8}"),
        (r"(?P<secret>AIza[A-Za-z0-9_-]{35,}|ya29\.[A-Za-z0-9_.-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})",),
    ),
    Detector(
        "github_token",
        (r"gh[pousr]_[A-Za-z0-9]{16}", r"github_pat_[A-Za-z0-9]{8}"),
        (r"(?P<secret>gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",),
    ),
    Detector(
        "gitlab_token",
        (r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas|ffct)-[A-Za-z0-9_-]{16}", r"GR1348941"),
        (
            r"(?P<secret>gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas|ffct)-[A-Za-z0-9_.-]*[A-Za-z0-9_-]{16,}"
            r"|GR1348941[A-Za-z0-9_-]{16,})",
        ),
    ),
    Detector(
        "slack_token",
        (r"xox[abeoprs]-[A-Za-z0-9-]{8}", r"xapp-[0-9]", r"hooks\.slack(?:-gov)?\.com/"),
        (
            r"(?P<secret>xox[abeoprs]-[A-Za-z0-9.-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,})",
            r"hooks\.slack(?:-gov)?\.com/[a-z]+/(?P<secret>[A-Za-z0-9/+_-]{16,})",
        ),
    ),
    Detector(
        "stripe_key",
        (r"[sr]k_(?:live|test|prod)_[A-Za-z0-9]{8}", r"whsec_[A-Za-z0-9]{8}"),
        (r"(?P<secret>[sr]k_(?:live|test|prod)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,})",),
    ),
    Detector("npm_token", (r"npm_[A-Za-z0-9]{16}",), (r"(?P<secret>npm_[A-Za-z0-9]{36,})",)),
    Detector(
        "vendor_token",
        (
            r"pypi-AgE[A-Za-z0-9]",
            r"\bsk-(?:proj|svcacct|admin|ant|or)-",
            r"\bsk-[A-Za-z0-9]{32}",
            r"SG\.[A-Za-z0-9_-]{16}",
            r"\bhf_[A-Za-z]{30}",
            r"do[opr]_v1_[a-f0-9]{16}",
            r"\bhv[sbr]\.[A-Za-z0-9_-]{16}",
            r"dckr_(?:pat|oat)_",
            r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{16}",
            r"AGE-SECRET-KEY-1",
            r"ATATT3[A-Za-z0-9_-]{16}",
            r"\bgl(?:sa|c)_[A-Za-z0-9+/]{16}",
            r"rubygems_[a-f0-9]{16}",
            r"\bdapi[a-f0-9]{32}",
            r"[0-9]:AA[A-Za-z0-9_-]{33}",
        ),
        (
            r"(?P<secret>pypi-AgE[A-Za-z0-9_-]{40,}|\bsk-(?:proj|svcacct|admin|ant|or)-[A-Za-z0-9_-]{16,}|\bsk-[A-Za-z0-9]{32,}"
            r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{20,}|\bhf_[A-Za-z]{30,}|do[opr]_v1_[a-f0-9]{32,}"
            r"|\bhv[sbr]\.[A-Za-z0-9_-]{20,}|dckr_(?:pat|oat)_[A-Za-z0-9_-]{16,}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32,}"
            r"|AGE-SECRET-KEY-1[A-Z0-9]{40,}|ATATT3[A-Za-z0-9_=-]{40,}|\bgl(?:sa|c)_[A-Za-z0-9+/_=]{32,}"
            r"|rubygems_[a-f0-9]{32,}|\bdapi[a-f0-9]{32}(?:-[0-9]+)?|[0-9]{8,10}:AA[A-Za-z0-9_-]{33,})",
        ),
    ),
    Detector(
        "authorization",
        (r"(?i)authorization(?:\\*[\"'])?[ \t]*(?:[:=]|%3a)", r"(?i)\bbasic[ \t]+[A-Za-z0-9+/]{6}"),
        (
            *_any_case(
                _HEADER + r"(?:basic|bearer|negotiate|ntlm|token|apikey|api-key|key|sharedkey(?:lite)?)(?:\s+|%20|\+)"
                r"(?:token[ \t]*=[ \t]*)?(?:\\*[\"'])?(?P<secret>[^\s\"'\\,;&]+)",
                _HEADER + r"(?:digest|aws4-hmac-sha256|aws4-ecdsa-p256-sha256|oauth|hawk|signature|sharedaccesssignature)\s+"
                r"(?P<secret>" + _PARAMETERS + ")",
            ),
            r"(?i)" + _HEADER + r"(?P<loose>)(?P<secret>[^\s\"'\\,;&\[({<][^\s\"'\\,;&]{5,})",
            r"(?i)" + _HEADER + r"(?P<loose>)[a-z][\w-]*[ \t]+(?P<secret>[^\s\"'\\,;&\[({<][^\s\"'\\,;&]{5,})",
            r"(?i)\b(?P<alone>)basic[ \t]+(?P<secret>[a-z0-9+/]{6,}={0,2})",
        ),
        checks.credentials,
    ),
    Detector(
        "bearer_token",
        (r"(?i)bearer(?:\s|%20|\+)",),
        (r"(?i)\bbearer(?:\s+|%20|\+)(?:\\*[\"'])?(?P<secret>[a-z0-9._~+/=-]{8,})",),
        checks.bearer,
    ),
    Detector(
        "url_password",
        (
            r"(?i):(?:\\*/){2}[^\s:/?#@\"'<>]*(?::|%3a)[^\s\"'<>@]+@",
            r"(?i)%3a%2f%2f[^\s&\"'<>@]*%3a[^\s&\"'<>@]+%40",
            r":[^\s:@/\"']+@(?:tcp|unix|udp)[46]?\(",
            r"oracle:thin:[^\s/@\"']*/[^\s@\"']+@",
        ),
        (
            r"(?i):(?:\\*/){2}[^\s:/?#@\"'<>]*(?::|%3a)(?P<secret>[^\s/?#\"'<>]+)@",
            r":(?:\\*/){2}[^\s:/?#@\"'<>]*:(?P<secret>[^\s\"'<>@/?#]*[/?#][^\s\"'<>@]*)@",
            r"(?i)%3a%2f%2f(?:[^\s&\"'<>@%]|%[013-9a-f][0-9b-f]|%2[0-9a-e])*%3a(?P<secret>[^\s&\"'<>@]+?)%40",
            r"[\w.%-]:(?P<secret>[^\s:@\"']+)@(?:tcp|unix|udp)[46]?\(",
            r"oracle:thin:[^\s/@\"']*/(?P<secret>[^\s@\"']+)@",
        ),
        checks.in_url,
    ),
    Detector(
        "signed_url",
        (r"(?i)[?&;](?:sig|(?:x-(?:amz|goog|oss)-)?signature)(?:=|%3d)",),
        _any_case(r"[?&;](?:sig|(?:x-(?:amz|goog|oss)-)?signature)(?:=|%3d)(?P<secret>[^\s&\"'<>#]{8,})"),
        checks.value,
    ),
    Detector(
        "cookie",
        (r"(?i)cookie(?:\\*[\"'])?[ \t]*[:=]", r"(?i)(?:jsessionid|phpsessid|net_sessionid|connect\.sid)="),
        _any_case(
            r"\b(?:set-)?cookie(?:\\*[\"'])?[ \t]*[:=][ \t]*\[?(?:\\*[\"'])?(?P<secret>[^\s=;,\"'*]+=[^\"'\r\n\\\]]+)",
            r"(?:jsessionid|phpsessid|net_sessionid|connect\.sid)=(?P<secret>[^\s;,&?#\"'<>\\]+)",
        ),
        checks.value,
    ),
    Detector(
        "command_line",
        _any_case(
            _OPTION + r"(?:\\*[\"'])?[ \t,=]",
            _SQL_CLIENTS + r"[^\n]*?[\s\"']-p[^\s]",
            r"sshpass[ \t]+-p",
            r"curl\b[^\n]*?[\s\"'](?:-u|-U|--user|--proxy-user)",
            r"(?:redis-cli|keydb-cli|valkey-cli)\b[^\n]*?[\s\"']-a",
            r"ldap[a-z]+\b[^\n]*?[\s\"']-w",
            r"(?:sqlcmd|bcp|ipmitool)\b[^\n]*?[\s\"']-P",
            r"(?:docker|podman|buildah|nerdctl|oras|helm(?: registry)?|az) login\b[^\n]*?[\s\"']-p",
            r"mongo(?:sh|dump|restore|export|import|stat|top)?\b[^\n]*?[\s\"']-p",
            r"zip\b[^\n]*?[\s\"']-P",
            r"\b7z[ar]?\b[^\n]*?[\s\"']-p",
            r"freerdp3?\b[^\n]*?/p:",
            r"lftp\b[^\n]*?-u",
            r"htpasswd[ \t][^\n]*?-\w*b",
            r"sqlplus\b[^\n]*?/[^\s@/]+@",
            r"-from-literal",
            r"\.psk[ \t]",
            r"smbclient\b[^\n]*?[\s\"']-U",
            r"-pass(?:in|out)?[ \t]+[\"']?pass:",
        ),
        (
            *_any_case(_OPTION + _NEXT + _ARGUMENT, _OPTION + r"=(?P<secret>(?:[^\s\"'\\]|\\[^\"'\s])+)"),
            r"(?i)"
            + _SQL_CLIENTS
            + r"(?-i:[^\n]*?[\s\"']-p(?:\\*\"(?P<secret>[^\"]+)|\\*'(?P<secret2>[^']+)|(?P<secret3>[^\s\"']+)))",
            r"\bsshpass[ \t]+-p[ \t]?" + _ARGUMENT,
            r"\bcurl\b[^\n]*?[\s\"'](?:-u|-U|--user|--proxy-user)(?:[\s\"',=]*)[^\s:\"']*:(?P<secret>[^\s\"']+)",
            r"\b(?:redis-cli|keydb-cli|valkey-cli)\b[^\n]*?[\s\"']-a" + _NEXT + _ARGUMENT,
            r"\bldap[a-z]+\b[^\n]*?[\s\"']-w[ \t]?(?:\\*[\"'][ \t,]+)?" + _ARGUMENT,
            r"\b(?:sqlcmd|bcp|ipmitool)\b[^\n]*?[\s\"']-P[ \t]?(?:\\*[\"'][ \t,]+)?" + _ARGUMENT,
            r"\bmongo(?:sh|dump|restore|export|import|stat|top)?\b[^\n]*?[\s\"']-p[ \t]?(?:\\*[\"'][ \t,]+)?" + _ARGUMENT,
            r"\b(?:un)?zip\b[^\n]*?[\s\"']-P[ \t]?(?:\\*[\"'][ \t,]+)?" + _ARGUMENT,
            r"\b7z[ar]?\b[^\n]*?[\s\"']-p" + _ARGUMENT,
            r"freerdp3?\b[^\n]*?/p:" + _ARGUMENT,
            r"\blftp\b[^\n]*?[\s\"']-u[ \t]?[\"']?[^\s,\"']+,(?P<secret>[^\s\"']+)",
            r"\bhtpasswd(?:[ \t]+-\w+)*?[ \t]+-\w*b\w*(?:[ \t]+-\w+)*[ \t]+\S+[ \t]+\S+[ \t]+" + _ARGUMENT,
            r"\bsqlplus\b[^\n]*?[\s\"'][^\s/@\"'-]+/(?P<secret>[^\s/@\"']+)@",
            r"--from-literal(?:=|[ \t]+)[\"']?[^\s=\"']+=(?P<secret>[^\s\"']+)",
            r"(?:wifi-sec|wireless-security)\.psk[ \t]+" + _ARGUMENT,
            r"\b(?:docker|podman|buildah|nerdctl|oras|helm(?: registry)?|az) login\b[^\n]*?[\s\"']-p[ \t]?" + _ARGUMENT,
            r"\bsmbclient\b[^\n]*?[\s\"']-U[ \t]?[\"']?[^\s%\"']+%(?P<secret>[^\s\"']+)",
            r"-pass(?:in|out)?[ \t]+[\"']?pass:(?P<secret>[^\s\"']+)",
        ),
        checks.argument,
    ),
    Detector(
        "assignment",
        _any_case(
            _NAME + r"(?:=|:|%(?:25)?3[ad]|>|\\+u003d|\xef\xbc[\x9a\x9d])",
            rf"\b(?:{WEAK_NAME})" + _KEY_END + r"(?:" + _EQUALS + r"|:[ \t]*\\*[\"'])",
            _NAME + _VALUE_OF,
            r"(?:identified[ \t]+(?:with[ \t]+\S+[ \t]+)?by|password)[ \t]+(?:password[ \t]+)?\\*'",
        ),
        (
            *_any_case(
                *(name + r"(?:" + _EQUALS + r"|" + _COLON + r")[ \t]*[rbu]?" + one for name in _NAMES for one in _QUOTES),
                *(name + _EQUALS + _BARE for name in _NAMES),
                _NAME + r"[ \t]" + _EQUALS + r"[ \t]*" + _BARE,
                _NAME + r"=>[ \t]*" + _BARE,
                *(_NAME + _VALUE_OF + one for one in (*_QUOTES, _BARE)),
                r"<[a-z0-9:_.-]*" + _KEY + r">(?P<secret>[^<]+)</",
                r"(?:identified[ \t]+(?:with[ \t]+\S+[ \t]+)?by|password)[ \t]+(?:password[ \t]+)?\\*'(?P<secret>[^'\\]+)",
            ),
            r"(?i)" + _NAME + r"(?P<colon>)" + _COLON + r"[ \t]*" + _BARE,
        ),
        checks.assigned,
    ),
    Detector(
        "credit_card",
        (
            # What is before and behind stands here as well: digits alone are in every other line.
            rf"(?:^|[^0-9A-Za-z*]|%[0-9A-Fa-f]{{2}})(?:{_ISSUER}[0-9]{{9,15}}|{_GROUPED})(?:[^0-9A-Za-z*]|$)",
        ),
        (
            r"(?P<secret>[0-9]{13,})",
            *(
                f"(?P<secret>{layout.replace('_', blank)})"
                for blank in (" ", "-")
                for layout in (
                    "[0-9]{4}(?:_[0-9]{4}){3}",
                    "[0-9]{4}(?:_[0-9]{4}){3}_[0-9]{3}",
                    "[0-9]{4}_[0-9]{6}_[0-9]{4,5}|[0-9]{4}(?:_[0-9]{4}){2}_[0-9]",
                )
            ),
        ),
        checks.card,
        overlapping=True,
    ),
    Detector(
        "email",
        (r"@[A-Za-z0-9-]+\.[A-Za-z]",),
        (r"(?P<secret>[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24})",),
        checks.email,
        default=False,
    ),
)
"""Every built-in detector, in order of precedence."""
