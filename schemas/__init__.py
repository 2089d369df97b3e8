"""The wire: frozen, versioned models of every message, file and bundle manifest that fewstep reads or writes."""

from schemas.base import SCHEMA_VERSION, Flat, Incoming, Outgoing, epoch_ms, rfc3339
from schemas.connection import KafkaSettings
from schemas.inputs import Filters, InteractionEvent, Item, RecommendationRequest, UserProfile
from schemas.manifest import (
    FORMAT_VERSION,
    ContentEncoding,
    EventKinds,
    FileEntry,
    Latest,
    Manifest,
    TensorEntry,
    UserFeature,
)
from schemas.outputs import ModelAnnouncement, Reason, Recommendation, RecommendedItem, RefreshRequest, Source
from schemas.topics import TOPICS, Role, TopicSpec, topic_name

__all__ = [
    "FORMAT_VERSION",
    "SCHEMA_VERSION",
    "TOPICS",
    "ContentEncoding",
    "EventKinds",
    "FileEntry",
    "Filters",
    "Flat",
    "Incoming",
    "InteractionEvent",
    "Item",
    "KafkaSettings",
    "Latest",
    "Manifest",
    "ModelAnnouncement",
    "Outgoing",
    "Reason",
    "Recommendation",
    "RecommendationRequest",
    "RecommendedItem",
    "RefreshRequest",
    "Role",
    "Source",
    "TensorEntry",
    "TopicSpec",
    "UserFeature",
    "UserProfile",
    "epoch_ms",
    "rfc3339",
    "topic_name",
]
