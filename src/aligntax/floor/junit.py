"""A decision as JUnit XML, which every CI system can show: one test case a rule."""

from __future__ import annotations

import datetime as dt
import xml.etree.ElementTree as ET

from . import words
from .rules import Decision, Finding, Ruling

_ELEMENT = {Ruling.FAIL: "failure", Ruling.TOO_LITTLE_DATA: "error"}


def junit_xml(decision: Decision, *, properties: dict[str, str], time: dt.datetime) -> str:
    """The XML text. `properties` stand with the suite: what was decided from. `time` is UTC.

    Too little data is an <error>: <skipped>, and no element at all, would count as passed.
    """
    count = {
        "tests": str(len(decision.findings)),
        "failures": str(len(decision.those(Ruling.FAIL))),
        "errors": str(len(decision.those(Ruling.TOO_LITTLE_DATA))),
        "time": "0",
    }
    suites = ET.Element("testsuites", count)
    suite = ET.SubElement(
        suites,
        "testsuite",
        {"name": "aligntax gate", **count, "skipped": "0", "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S")},
    )
    held = ET.SubElement(suite, "properties")
    for name, value in properties.items():
        ET.SubElement(held, "property", {"name": words.plain(name), "value": words.plain(value)})
    for finding in decision.findings:
        _add_case(suite, finding)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _add_case(suite: ET.Element, finding: Finding) -> None:
    rule = finding.rule
    name = f"{words.rule(rule)}, {words.limit(rule)}"
    case = ET.SubElement(
        suite, "testcase", {"classname": f"aligntax.{words.name(rule.use_case)}", "name": name, "time": "0"}
    )
    if finding.ruling in _ELEMENT:
        element = {"message": finding.sentence, "type": finding.ruling.value}
        ET.SubElement(case, _ELEMENT[finding.ruling], element).text = words.details(finding)
    else:
        ET.SubElement(case, "system-out").text = words.details(finding)
