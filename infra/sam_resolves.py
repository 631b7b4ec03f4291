"""Checks that SAM CLI would run what a template deploys: it finds the program of every function and leads every route
to its function, as `sam local invoke` and `sam local start-api` do before they start a container. It runs in the
environment of SAM CLI, whose modules it uses:

    .cache/sam-<version>/bin/python infra/sam_resolves.py cdk.out/callboard.template.json
"""

import json
import logging
import os
import sys

from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

# It warns of every policy that it has no name for, and runs none.
logging.disable(logging.WARNING)


def problems(path):
    with open(path, encoding="utf-8") as file:
        resources = json.load(file)["Resources"]
    stacks, _ = SamLocalStackProvider.get_stacks(path, global_parameter_overrides={"AWS::Region": "us-east-1"})
    functions = SamFunctionProvider(stacks)
    routes = {route.path: route for route in ApiProvider(stacks, cwd=None).api.routes}
    seen = 0
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Lambda::Function":
            seen += 1
            function = functions.get(resource["Properties"]["FunctionName"])
            if function is None:
                yield f"SAM CLI does not see the function {name}"
            elif not os.access(os.path.join(function.codeuri, "bootstrap"), os.X_OK):
                yield f"SAM CLI looks for the program of the function {name} in {function.codeuri}, where none is"
        if resource["Type"] == "AWS::ApiGatewayV2::Route":
            seen += 1
            key = resource["Properties"]["RouteKey"]
            route = routes.get(key.split(" ", 1)[1])
            if route is None or not route.function_name or functions.get(route.function_name) is None:
                yield f"SAM CLI does not lead the route {key} to a function"
            elif route.payload_format_version != "2.0":
                yield f"SAM CLI sends the route {key} another payload than that of version 2.0"
    if not seen:
        yield "the template has neither functions nor routes"


def main(paths):
    found = [f"{path}: {problem}" for path in paths for problem in problems(path)]
    for line in found:
        print(line, file=sys.stderr)
    return bool(found) or not paths


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
