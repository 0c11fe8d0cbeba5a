"""One hierarchy of errors: every error names its category, what went wrong and what helps."""

from __future__ import annotations

import enum


class Category(enum.StrEnum):
    """The error categories of the product; they are what the error view counts by."""

    VALIDATION = "validation"
    MODEL = "model"
    INFERENCE = "inference"
    SECURITY = "security"
    NETWORK = "network"
    CLUSTER = "cluster"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    CONFIGURATION = "configuration"
    INTERNAL = "internal"


class NimifyError(Exception):
    """Base of all errors that an operator may see.

    ``message`` says what happened in a plain sentence without a full stop, ``remedy`` what helps
    ("" when nothing is known to help). The cause is chained with ``raise ... from``.
    """

    category: Category = Category.INTERNAL
    exit_code: int = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class ValidationError(NimifyError):
    """Something given to us breaks a rule (name, number, schema)."""

    category = Category.VALIDATION
    exit_code = 64


class ModelError(NimifyError):
    """A model file cannot be read, or is not what it says."""

    category = Category.MODEL


class InferenceError(NimifyError):
    """A model was asked and did not answer as it should."""

    category = Category.INFERENCE


class SecurityError(NimifyError):
    """Refused on purpose."""

    category = Category.SECURITY
    exit_code = 77


class GateRefused(SecurityError):
    """The gate does not allow this change (read-only, unconfirmed, no rights)."""


class NetworkError(NimifyError):
    """A peer could not be reached, or broke off."""

    category = Category.NETWORK
    exit_code = 2


class ClusterError(NimifyError):
    """A region answered and could not do what was asked."""

    category = Category.CLUSTER


class DeadlineError(NimifyError):
    """Something did not happen within its deadline."""

    category = Category.TIMEOUT
    exit_code = 2


class RateLimited(NimifyError):
    """Asked too often; ``retry_after_s`` says when to ask again (seconds)."""

    category = Category.RATE_LIMIT

    def __init__(self, message: str, remedy: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, remedy)
        self.retry_after_s = retry_after_s


class ConfigurationError(NimifyError):
    """The configuration is wrong; the message names file, line and key."""

    category = Category.CONFIGURATION
    exit_code = 78


class InternalError(NimifyError):
    """A rule of our own was broken: a bug."""

    category = Category.INTERNAL
