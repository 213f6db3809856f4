"""Whether replies of a server can train, and the processor with which its tokens are rendered."""

from typing import TYPE_CHECKING

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.models import load_processor, stop_tokens
from medgym.tool_form import tool_form_of

from ..rendering import Renderer
from .options import EndpointOptions

if TYPE_CHECKING:
    from .capabilities import ServerCapabilities


def renderer_of(source: str, options: EndpointOptions) -> tuple[Renderer | None, str]:
    """The renderer of a model's own processor, or the reason why there is none."""
    try:
        form = tool_form_of("openai", options.tool_form)
        return Renderer(load_processor(source), stop_tokens(source), tool_form=form), ""
    except UserError as error:  # not installed, not found, without a chat template
        return None, str(error).partition("; fix: ")[0]
    except Exception as error:  # processors fail in as many ways as there are processors
        return None, reason_of(error)


def why_not(
    server: "ServerCapabilities",
    renderer: Renderer | None,
    reason: str,
    options: EndpointOptions,
) -> str:
    """Why replies of a server cannot train, empty where they can."""
    if options.tools == "native":
        return "the server writes its tools and calls (tools=native); fix: omit tools=native"
    if options.extra:
        return "its requests have fields of your own (extra), whose effect is not known"
    if not server.vllm or not (server.takes_ids or server.returns_ids):
        return "it returns no token ids; fix: serve the model with vLLM (docs/serving.md)"
    if renderer is None:
        return f"no processor to render with ({reason}); fix: add ?processor=FOLDER to the URL"
    if not server.exact_logprobs:
        return (
            "its log-probabilities are not of the distribution from which it samples; "
            "fix: start vLLM with --logprobs-mode processed_logprobs"
        )
    return ""
