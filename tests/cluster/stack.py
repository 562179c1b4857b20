"""`cluster/aws.yaml` made in moto's AWS: as much of CloudFormation as that template uses.

Each resource's properties go to the EC2 or IAM call that makes it, so that boto3 checks their names and types.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]

TEMPLATE = Path("cluster/aws.yaml")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with CloudFormation's short forms, which become a mapping from the function to its argument."""


def _function(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    assert isinstance(node, yaml.ScalarNode)
    return {name: loader.construct_scalar(node)}


_Loader.add_multi_constructor("!", _function)


def template() -> dict[str, Any]:
    """The template as data."""
    loaded: dict[str, Any] = yaml.load(TEMPLATE.read_text(), _Loader)
    return loaded


def parameter_accepts(name: str, value: str) -> bool:
    """Whether CloudFormation takes `value` for the parameter; it anchors the pattern at both ends."""
    return re.fullmatch(template()["Parameters"][name]["AllowedPattern"], value) is not None


class Stack:
    """A stack in a region: `deploy` makes it, and changes it when called again."""

    def __init__(self, region: str) -> None:
        self.ec2 = boto3.client("ec2", region_name=region)
        self.iam = boto3.client("iam", region_name=region)
        self.budgets = boto3.client("budgets", region_name=region)
        defaults = {name: value["Default"] for name, value in template()["Parameters"].items() if "Default" in value}
        self.known: dict[str, Any] = {"AWS::Partition": "aws", "AWS::AccountId": "123456789012", **defaults}
        """What !Ref and !Sub know: parameters, and each resource that is there already."""
        self._made: dict[str, Any] = {}
        """The properties of each resource that is there."""

    def deploy(self, **parameters: str) -> list[str]:
        """Makes or changes what the template lists. Parameters that are not given keep their values, as they do with
        `aws cloudformation deploy`. Returns what was made or changed; raises where AWS would refuse a property.
        """
        self.known.update(parameters)
        touched = []
        for name, resource in template()["Resources"].items():
            properties = self._resolved(resource["Properties"])
            if self._made.get(name) == properties:
                continue
            verb = "change" if name in self._made else "make"
            kind = resource["Type"].removeprefix("AWS::").replace("::", "_").lower()
            getattr(self, f"_{verb}_{kind}")(name, **properties)
            self._made[name] = properties
            touched.append(name)
        return touched

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        (function, argument), *others = value.items()
        if others or function not in ("Ref", "GetAtt", "Sub"):
            return {key: self._resolved(item) for key, item in value.items()}
        if function == "Sub":
            return re.sub(r"\$\{(.+?)\}", lambda found: self.known[found[1]], argument)
        return self.known[argument]

    def _make_ec2_securitygroup(self, name: str, *, SecurityGroupIngress: list[Any], **properties: Any) -> None:  # noqa: N803
        properties["Description"] = properties.pop("GroupDescription")
        group = self.ec2.create_security_group(GroupName=f"stack-{name}", **properties)["GroupId"]
        self.known[name] = self.known[f"{name}.GroupId"] = group
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=_permissions(SecurityGroupIngress))

    def _change_ec2_securitygroup(self, name: str, *, SecurityGroupIngress: list[Any], **_: Any) -> None:  # noqa: N803
        before = _permissions(self._made[name]["SecurityGroupIngress"])
        self.ec2.revoke_security_group_ingress(GroupId=self.known[name], IpPermissions=before)
        after = _permissions(SecurityGroupIngress)
        self.ec2.authorize_security_group_ingress(GroupId=self.known[name], IpPermissions=after)

    def _make_ec2_securitygroupingress(
        self, name: str, *, GroupId: str, SourceSecurityGroupId: str, **rule: Any  # noqa: N803
    ) -> None:  # fmt: skip
        rule["UserIdGroupPairs"] = [{"GroupId": SourceSecurityGroupId}]
        self.ec2.authorize_security_group_ingress(GroupId=GroupId, IpPermissions=[rule])

    def _make_ec2_launchtemplate(self, name: str, **properties: Any) -> None:
        self.ec2.create_launch_template(**properties)

    def _change_ec2_launchtemplate(self, name: str, **properties: Any) -> None:
        self.ec2.create_launch_template_version(**properties)

    def _make_budgets_budget(self, name: str, *, Budget: dict[str, Any], **properties: Any) -> None:  # noqa: N803
        limit = {**Budget["BudgetLimit"], "Amount": str(Budget["BudgetLimit"]["Amount"])}
        self.budgets.create_budget(
            AccountId=self.known["AWS::AccountId"], Budget={**Budget, "BudgetLimit": limit}, **properties
        )

    def _make_iam_managedpolicy(self, name: str, *, PolicyDocument: Any) -> None:  # noqa: N803
        made = self.iam.create_policy(PolicyName=f"stack-{name}", PolicyDocument=json.dumps(PolicyDocument))
        self.known[name] = made["Policy"]["Arn"]

    def _make_iam_role(
        self, name: str, *, AssumeRolePolicyDocument: Any, ManagedPolicyArns: list[str],  # noqa: N803
        Policies: list[Any] = [],  # noqa: B006, N803
    ) -> None:  # fmt: skip
        document = json.dumps(AssumeRolePolicyDocument)
        made = self.iam.create_role(RoleName=f"stack-{name}", AssumeRolePolicyDocument=document)
        self.known[name], self.known[f"{name}.Arn"] = f"stack-{name}", made["Role"]["Arn"]
        for arn in ManagedPolicyArns:
            self.iam.attach_role_policy(RoleName=f"stack-{name}", PolicyArn=arn)
        for policy in Policies:
            document = json.dumps(policy["PolicyDocument"])
            self.iam.put_role_policy(RoleName=f"stack-{name}", PolicyName=policy["PolicyName"], PolicyDocument=document)

    def _make_iam_instanceprofile(self, name: str, *, Roles: list[str]) -> None:  # noqa: N803
        made = self.iam.create_instance_profile(InstanceProfileName=f"stack-{name}")
        self.known[f"{name}.Arn"] = made["InstanceProfile"]["Arn"]
        for role in Roles:
            self.iam.add_role_to_instance_profile(InstanceProfileName=f"stack-{name}", RoleName=role)


def _permissions(rules: list[Any]) -> list[Any]:
    """Rules for who may connect, as EC2's interface has them."""
    return [{"IpRanges": [{"CidrIp": rule.pop("CidrIp")}], **rule} for rule in map(dict, rules)]
