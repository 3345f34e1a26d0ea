"""Validates JSON lines on stdin against docs/schema/cli-1.json, strictly: a field that the schema does not name is a problem too."""
import json
import sys

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match


def strict(schema):
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made["additionalProperties"] = False
    return made


with open(sys.argv[1]) as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
made = strict(schema)
validator = Draft202012Validator(made)
definitions = {each["$ref"].rsplit("/", 1)[1] for each in made["oneOf"]}
problems, used = [], set()
for line in sys.stdin:
    case = json.loads(line)
    shape = case["shape"]
    own = Draft202012Validator({**made["$defs"][shape], "$defs": made["$defs"]})
    error = best_match(own.iter_errors(case["object"]))
    if error is not None:
        problems.append(f"{case['name']}: {shape}: {error.json_path}: {error.message}")
    elif not validator.is_valid(case["object"]):
        problems.append(f"{case['name']}: fits more than one shape")
    used.add(shape)
print(json.dumps({"problems": problems, "unused": sorted(definitions - used)}))
