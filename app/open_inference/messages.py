"""The messages of the Open Inference Protocol over gRPC: names and numbers as on the wire.

The protocol: https://github.com/kserve/open-inference-protocol. Its classes are made when the
module is loaded, in a pool of their own, where no other definition of the same package meets them.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
_CHOICE = "parameter_choice"
_MESSAGES: dict[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live:1:bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready:1:bool",
    "ModelReadyRequest": "name:1:string version:2:string",
    "ModelReadyResponse": "ready:1:bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name:1:string version:2:string extensions:3:string*",
    "ModelMetadataRequest": "name:1:string version:2:string",
    "ModelMetadataResponse": "name:1:string versions:2:string* platform:3:string"
    " inputs:4:ModelMetadataResponse.TensorMetadata*"
    " outputs:5:ModelMetadataResponse.TensorMetadata*",
    "ModelMetadataResponse.TensorMetadata": "name:1:string datatype:2:string shape:3:int64*",
    "InferParameter": "bool_param:1:bool? int64_param:2:int64? string_param:3:string?"
    " double_param:4:double? uint64_param:5:uint64?",
    "InferTensorContents": "bool_contents:1:bool* int_contents:2:int32* int64_contents:3:int64*"
    " uint_contents:4:uint32* uint64_contents:5:uint64* fp32_contents:6:float*"
    " fp64_contents:7:double* bytes_contents:8:bytes*",
    "ModelInferRequest": "model_name:1:string model_version:2:string id:3:string parameters:4:map"
    " inputs:5:ModelInferRequest.InferInputTensor*"
    " outputs:6:ModelInferRequest.InferRequestedOutputTensor* raw_input_contents:7:bytes*",
    "ModelInferRequest.InferInputTensor": "name:1:string datatype:2:string shape:3:int64*"
    " parameters:4:map contents:5:InferTensorContents",
    "ModelInferRequest.InferRequestedOutputTensor": "name:1:string parameters:2:map",
    "ModelInferResponse": "model_name:1:string model_version:2:string id:3:string parameters:4:map"
    " outputs:5:ModelInferResponse.InferOutputTensor* raw_output_contents:6:bytes*",
    "ModelInferResponse.InferOutputTensor": "name:1:string datatype:2:string shape:3:int64*"
    " parameters:4:map contents:5:InferTensorContents",
}
"""``name:number:type`` of each field; ``*``: repeated, ``?``: one of them, ``map``: parameters."""


def _make_file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, DescriptorProto] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add() if outer else file.message_type.add()
        message.name = inner
        made[name] = message
        for field in fields.split():
            _add_field(message, *field.split(":"), within=name)
    return file


def _add_field(message: DescriptorProto, name: str, number: str, kind: str, *, within: str) -> None:
    field = message.field.add(name=name, number=int(number))
    is_many = kind.endswith("*") or kind == "map"
    field.label = field.LABEL_REPEATED if is_many else field.LABEL_OPTIONAL
    if kind.endswith("?"):
        if not message.oneof_decl:
            message.oneof_decl.add(name=_CHOICE)
        field.oneof_index = 0
    plain = kind.rstrip("*?")
    if plain == "map":
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, "key", "1", "string", within=within)
        _add_field(entry, "value", "2", "InferParameter", within=within)
        plain = f"{within}.ParametersEntry"
    if plain[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{plain}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{plain.upper()}")


_pool = DescriptorPool()
_pool.Add(_make_file())


def message_class(name: str) -> Any:
    """The class of a message.

    Args:
        name: within the package.
    """
    return GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
