#!/usr/bin/env python3
"""Writes inputs and outputs into README.md, in the format of terraform-docs ("markdown document", .terraform-docs.yml).

    terraform/docs.py            writes
    terraform/docs.py --check    fails if README.md is not what it would write

It reads what `terraform fmt` has written, and no other HCL. renamed.tf is left out, as terraform-docs does by its comment.
"""

import json
import re
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- BEGIN_TF_DOCS -->", "<!-- END_TF_DOCS -->"


def blocks(kind):
    """Name and attributes of each block of a kind, by name; an attribute as it stands in the file."""
    for file in sorted(HERE.glob("*.tf")):
        for name, body in re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}$', file.read_text(), re.M | re.S):
            if f"# terraform-docs-ignore\n{kind} \"{name}\"" not in file.read_text():
                yield name, dict(re.findall(r"^  (\w+) += (<<-EOT\n.*?^  EOT$|.*?(?=^  \w|^$|\Z))", body, re.M | re.S))


def text(value):
    """A string of HCL: between quotes, or as a heredoc."""
    if value.startswith("<<-EOT\n"):
        return textwrap.dedent(value.removeprefix("<<-EOT\n").removesuffix("  EOT")).strip()
    return json.loads(value)


def default(value):
    """A default as JSON: a literal, {} and [], or a map on one line."""
    return re.sub(r"(\w+) += ", r'"\1": ', value.strip())


def fenced(label, value, language):
    value = value.strip()
    return f"{label}:\n\n```{language}\n{value}\n```" if "\n" in value else f"{label}: `{value}`"


def inputs(title, sentence, variables):
    yield f"## {title}\n\n{sentence}"
    for name, attributes in variables:
        yield f"### {name}\n\nDescription: {text(attributes['description'])}"
        yield fenced("Type", attributes["type"], "hcl")
        if "default" in attributes:
            value = json.loads(default(attributes["default"]))
            yield fenced("Default", json.dumps(value, indent=2 if value else None), "json")


def document():
    variables = sorted(blocks("variable"))
    required = [variable for variable in variables if "default" not in variable[1]]
    optional = [variable for variable in variables if "default" in variable[1]]
    yield from inputs("Required Inputs", "The following input variables are required:", required)
    yield from inputs("Optional Inputs", "The following input variables are optional (have default values):", optional)
    yield "## Outputs\n\nThe following outputs are exported:"
    for name, attributes in sorted(blocks("output")):
        yield f"### {name}\n\nDescription: {text(attributes['description'])}"


def main():
    readme = HERE / "README.md"
    before = readme.read_text()
    head, _, rest = before.partition(BEGIN)
    after = head + BEGIN + "\n" + "\n\n".join(document()) + "\n" + END + rest.partition(END)[2]
    if "--check" not in sys.argv:
        readme.write_text(after)
    elif before != after:
        sys.exit("terraform/README.md is not what the variables and outputs say: run terraform/docs.py")


main()
