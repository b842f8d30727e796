"""The dialect table as statements of the Collector's `transform` processor.

OTTL, as it is switched on by default, has no loops, so that numbered attributes are written out: the first
`MOST_MESSAGES` messages of a prompt, `MOST_CHOICES` answers, `MOST_DOCUMENTS` documents, and of each message
`MOST_PARTS` parts and `MOST_CALLS` tool calls. What is beyond stays under the sender's name, in Tempo too, and
`backspan.dialects.apply` adds the messages and documents to what the gateway keeps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from backspan import semconv
from backspan.dialects.names import DOCUMENTS, FIELDS, LAST, MARKS, MESSAGES, NAMES, Documents, Field, Messages, Name

MOST_MESSAGES = 12
MOST_CHOICES = 2
MOST_PARTS = 2
MOST_CALLS = 3
MOST_DOCUMENTS = 10

BEGIN = "# --- transform/dialects, made from backspan.dialects.names: do not edit below this line ---"
_INDENT = "        "
_ANSWERING = (semconv.CHAT, semconv.TEXT_COMPLETION)


def written(text: str) -> str:
    """The text of a ``collector.yaml`` with the statements of the table after `BEGIN`.

    Raises ValueError if the text has no such line.
    """
    kept, mark, _ = text.partition(BEGIN)
    if not mark:
        raise ValueError(f"no line {BEGIN!r} in it")
    return f"{kept}{BEGIN}\n{processor()}"


def processor() -> str:
    """The processor as YAML. Every group reads a span of its own: first the names, then what is spread out."""
    groups = [_group(_marked(), _scalars())]
    for kind in MESSAGES:
        most = MOST_MESSAGES if kind.target == semconv.INPUT_MESSAGES else MOST_CHOICES
        groups.append(_group(_spread(kind.target, kind.message + kind.role), _messages(kind, most)))
    first = " or ".join(f"{_at(DOCUMENTS.document.format(i=0) + key)} != nil" for key in DOCUMENTS.keys.values())
    groups.append(_group(f"{_at(DOCUMENTS.target)} == nil and ({first})", _documents(DOCUMENTS)))
    return "".join(["  transform/dialects:\n    error_mode: silent\n    trace_statements:\n", *groups, _filter()])


def _filter() -> str:
    """The processor that leaves only answers of senders in the table, which bring no metrics under current names."""
    answers = " or ".join(f"{_at(semconv.OPERATION_NAME)} == {json.dumps(one)}" for one in _ANSWERING)
    condition = _quoted(f"not (({answers}) and ({_marked()}))")
    return f"  filter/foreign:\n    error_mode: ignore\n    trace_conditions: [{condition}]\n"


def _marked() -> str:
    return " or ".join(f"{_at(mark)} != nil" for mark in MARKS)


def _group(condition: str, statements: Iterator[str]) -> str:
    lines = "".join(f"{_INDENT}  - {_quoted(one)}\n" for one in statements)
    return f"      - conditions: [{_quoted(condition)}]\n{_INDENT}statements:\n{lines}"


def _quoted(statement: str) -> str:
    return "'" + statement.replace("'", "''") + "'"


def _at(key: str) -> str:
    return f"span.attributes[{json.dumps(key)}]"


def _spread(target: str, role: str) -> str:
    return f"{_at(target)} == nil and {_at(role.format(i=0))} != nil"


# --- one attribute to one -------------------------------------------------------------------------------------------
def _scalars() -> Iterator[str]:
    for name in NAMES:
        yield from _name(name)
    for source in dict.fromkeys(field.source for field in FIELDS):
        yield from _parsed(source)
    for field in FIELDS:
        yield _field(field)
    for name in LAST:
        yield from _name(name)
    for name in NAMES:
        if name.moved:
            yield f"delete_key(span.attributes, {json.dumps(name.source)})"


def _name(name: Name) -> Iterator[str]:
    also = f" and {_at(name.when[0])} == {json.dumps(name.when[1])}" if name.when else ""
    absent = f"{_at(name.target)} == nil{also}"
    for word, meaning in name.words.items():
        value = json.dumps([meaning] if name.form == "list" else meaning)
        yield f"set({_at(name.target)}, {value}) where {_at(name.source)} == {json.dumps(word)} and {absent}"
    if not name.only:
        value = _formed(name.form, _at(name.source))
        yield f"set({_at(name.target)}, {value}) where {_at(name.source)} != nil and {absent}"


def _formed(form: str, value: str) -> str:
    return {"whole": f"Int({value})", "text": f"String({value})", "list": f"[{value}]"}.get(form, value)


def _parsed(source: str) -> Iterator[str]:
    wanted = [field for field in FIELDS if field.source == source]
    also = f" and {_at(wanted[0].when[0])} == {json.dumps(wanted[0].when[1])}" if wanted[0].when else ""
    yield (f"set({_json(source)}, ParseJSON({_at(source)})) "
           f"where IsString({_at(source)}) and HasPrefix({_at(source)}, \"{{\"){also}")


def _json(source: str) -> str:
    return f"span.cache[{json.dumps(source)}]"


def _field(field: Field) -> str:
    value = f"{_json(field.source)}[{json.dumps(field.key)}]"
    return (f"set({_at(field.target)}, {_formed(field.form, value)}) "
            f"where {_json(field.source)} != nil and {value} != nil and {_at(field.target)} == nil")


# --- many attributes to one -----------------------------------------------------------------------------------------
_ALL, _PARTS, _ONE = 'span.cache["all"]', 'span.cache["parts"]', 'span.cache["one"]'


def _messages(kind: Messages, most: int) -> Iterator[str]:
    yield f'set({_ALL}, "")'
    for number in range(most):
        prefix = kind.message.format(i=number)
        yield from _message(kind, prefix, f"{_at(prefix + kind.role)} != nil")
    yield _joined(kind.target)
    yield _deleted(kind, most)


def _message(kind: Messages, prefix: str, there: str) -> Iterator[str]:
    role, text, answers = (_at(prefix + key) for key in (kind.role, kind.text, kind.answers))
    yield f'set({_PARTS}, "") where {there}'
    yield _part({"type": '"text"', "content": text}, f'{text} != nil and {role} != "tool"')
    yield _part({"type": '"tool_call_response"', "id": answers, "response": text}, f'{role} == "tool"')
    for j in range(MOST_PARTS if kind.parts else 0):
        part = _at(prefix + kind.parts.format(j=j))
        yield _part({"type": '"text"', "content": part}, f"{part} != nil")
    for j in range(MOST_CALLS):
        id, name, arguments = (_at(prefix + key.format(j=j)) for key in kind.call)
        yield _part({"type": '"tool_call"', "id": id, "name": name, "arguments": arguments}, f"{name} != nil")
    opened = f'TrimSuffix(String({{"role": {role}}}), "}}")'
    yield (f'set({_ALL}, Concat([{_ALL}, ",", {opened}, ",\\"parts\\":[", TrimPrefix({_PARTS}, ","), "]}}"], "")) '
           f"where {there}")


def _part(said: dict[str, str], where: str) -> str:
    literal = ", ".join(f"{json.dumps(key)}: {value}" for key, value in said.items())
    return f'set({_PARTS}, Concat([{_PARTS}, ",", String({{{literal}}})], "")) where {where}'


def _joined(target: str) -> str:
    return f'set({_at(target)}, Concat(["[", TrimPrefix({_ALL}, ","), "]"], ""))'


def _deleted(kind: Messages, most: int) -> str:
    """What the messages were made from; the rest of a message (an image, a fourth tool call) stays."""
    parts = [kind.role, kind.text, kind.answers]
    found = "|".join(re.escape(one) for one in parts)
    if kind.parts:
        for one in (kind.parts, kind.part_type):
            found += "|" + re.escape(one).replace(r"\{j\}", _upto(MOST_PARTS))
    for one in kind.call:
        found += "|" + re.escape(one).replace(r"\{j\}", _upto(MOST_CALLS))
    prefix = re.escape(kind.message).replace(r"\{i\}", _upto(most))
    return f"delete_matching_keys(span.attributes, {json.dumps(f'^{prefix}({found})$')})"


def _upto(most: int) -> str:
    return f"({'|'.join(str(number) for number in range(most))})"


def _documents(kind: Documents) -> Iterator[str]:
    yield f'set({_ALL}, "")'
    for number in range(MOST_DOCUMENTS):
        prefix = kind.document.format(i=number)
        there = " or ".join(f"{_at(prefix + theirs)} != nil" for theirs in kind.keys.values())
        yield f"set({_ONE}, ParseJSON(\"{{}}\"))"
        for key, theirs in kind.keys.items():
            value = _at(prefix + theirs)
            yield f"set({_ONE}[{json.dumps(key)}], {value}) where {value} != nil"
        yield f'set({_ALL}, Concat([{_ALL}, ",", String({_ONE})], "")) where {there}'
    yield _joined(kind.target)
    prefix = re.escape(kind.document).replace(r"\{i\}", _upto(MOST_DOCUMENTS))
    keys = "|".join(re.escape(theirs) for theirs in kind.keys.values())
    yield f"delete_matching_keys(span.attributes, {json.dumps(f'^{prefix}({keys})$')})"
