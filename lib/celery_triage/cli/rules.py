"""``celery-triage rules``."""

from __future__ import annotations

from typing import Any

import click

from .ending import OK, WRONG_USE, Ended, give


@click.command()
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="The catalogue as JSON.")
def rules(code: str | None, as_json: bool) -> int:
    """The catalogue of rules, or the page of one CODE."""
    from ..checks import RULES as LIVE
    from ..lint.rules import PAGES

    RULES = {**LIVE, **PAGES}

    if code and code.upper() not in RULES:
        from ..explain.codes import log_codes, page

        if known := log_codes().get(code.upper()):
            if as_json:
                import json

                told = {"code": known.code, "name": known.name, "severity": known.severity}
                told |= {"needs": ["logs/*"], "page": page(known.code)}
                give(json.dumps([told], ensure_ascii=False, indent=2))
            else:
                give(f"{known.code} {known.name} ({known.severity})\n\n{page(known.code)}")
            return OK
        raise Ended(WRONG_USE, f"there is no rule {code}; `celery-triage rules` lists them")
    chosen = [RULES[code.upper()]] if code else [RULES[name] for name in sorted(RULES)]
    if as_json:
        import json

        give(json.dumps([_rule(rule) for rule in chosen], ensure_ascii=False, indent=2))
    elif code:
        rule = chosen[0]
        give(f"{rule.code} {rule.name} ({rule.severity})\n\n{rule.page}")
    else:
        for rule in chosen:
            first = rule.page.split("\n\n")[0].replace("\n", " ")
            give(f"{rule.code}  {rule.severity:<8}  {rule.name:<24}  {first}")
    return OK


def _rule(rule: Any) -> dict[str, Any]:
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "needs": list(rule.needs),
        "page": rule.page,
    }
