"""`cluster/aws.yaml` made in moto's AWS: as much of CloudFormation as that template uses.

Each resource's properties go to the EC2 or IAM call that makes it, so that boto3 checks their names and types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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


def deploy(region: str, **parameters: str) -> None:
    """Makes everything that the template lists. Raises where AWS's own interface would refuse a property."""
    given = {name: value.get("Default") for name, value in template()["Parameters"].items()} | parameters
    _Stack(region, given).make(template()["Resources"])


class _Stack:
    def __init__(self, region: str, parameters: Mapping[str, str]) -> None:
        self.ec2 = boto3.client("ec2", region_name=region)
        self.iam = boto3.client("iam", region_name=region)
        self.known = {**parameters, "AWS::Partition": "aws", "AWS::AccountId": "123456789012"}
        """What !Ref and !Sub know: parameters, and each resource that is there already."""

    def make(self, resources: Mapping[str, Any]) -> None:
        for name, resource in resources.items():
            kind = resource["Type"].removeprefix("AWS::").replace("::", "_").lower()
            getattr(self, f"_{kind}")(name, **self._resolved(resource["Properties"]))

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

    def _ec2_securitygroup(self, name: str, *, SecurityGroupIngress: list[Any], **properties: Any) -> None:  # noqa: N803
        properties["Description"] = properties.pop("GroupDescription")
        group = self.ec2.create_security_group(GroupName=f"stack-{name}", **properties)["GroupId"]
        self.known[name] = self.known[f"{name}.GroupId"] = group
        permissions = [
            {"IpRanges": [{"CidrIp": rule.pop("CidrIp")}], **rule} for rule in map(dict, SecurityGroupIngress)
        ]
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=permissions)

    def _ec2_securitygroupingress(
        self, name: str, *, GroupId: str, SourceSecurityGroupId: str, **rule: Any  # noqa: N803
    ) -> None:  # fmt: skip
        rule["UserIdGroupPairs"] = [{"GroupId": SourceSecurityGroupId}]
        self.ec2.authorize_security_group_ingress(GroupId=GroupId, IpPermissions=[rule])

    def _ec2_launchtemplate(self, name: str, **properties: Any) -> None:
        self.ec2.create_launch_template(**properties)

    def _iam_managedpolicy(self, name: str, *, PolicyDocument: Any) -> None:  # noqa: N803
        made = self.iam.create_policy(PolicyName=f"stack-{name}", PolicyDocument=json.dumps(PolicyDocument))
        self.known[name] = made["Policy"]["Arn"]

    def _iam_role(
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

    def _iam_instanceprofile(self, name: str, *, Roles: list[str]) -> None:  # noqa: N803
        made = self.iam.create_instance_profile(InstanceProfileName=f"stack-{name}")
        self.known[f"{name}.Arn"] = made["InstanceProfile"]["Arn"]
        for role in Roles:
            self.iam.add_role_to_instance_profile(InstanceProfileName=f"stack-{name}", RoleName=role)
