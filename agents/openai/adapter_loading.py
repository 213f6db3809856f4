"""LoRA adapters that a vLLM server loads and unloads while it runs."""

from pathlib import Path

from medgym.errors import UserError
from medgym.failures import Failure
from medgym.storage.adapters import check_fit

from .bodies import Refused
from .capabilities import root_of, served_models
from .http import Endpoint, Unreachable


async def load_adapter(endpoint: Endpoint, name: str, path: Path) -> None:
    """Have a server load the adapter in a folder under a name, if it does not serve it yet.

    Raises:
        UserError: the adapter does not fit, the server cannot load it, or serves another under that
            name.
    """
    models = await served_models(endpoint) or {}
    if name not in models:
        for model in models.values():
            root = root_of(model)
            if root and not model.get("parent") and Path(root).is_dir():
                check_fit(path, Path(root))
        body = {"lora_name": name, "lora_path": str(path)}
        refusal: Exception | None = None
        try:
            url = f"{endpoint.url}/load_lora_adapter"
            await endpoint.ask("POST", url, body, retries=0, want_json=False)
        except (Refused, Unreachable) as error:
            refusal = error
        models = await served_models(endpoint) or {}  # another process may have loaded it
        if name not in models:
            raise UserError(
                f"{endpoint.url} does not load the adapter {path} ({str(refusal)[:120]}); fix: "
                "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
            ) from refusal
    if Path(root_of(models[name])) != path:
        raise UserError(
            f"{endpoint.url} serves another adapter as {name} ({root_of(models[name])}); "
            "fix: publish under a new step"
        )


async def unload_adapter(endpoint: Endpoint, name: str) -> None:
    """Have a server unload an adapter. Unknown names are ignored.

    Raises:
        Failure: the server does not unload it, or does not answer.
    """
    url, body = f"{endpoint.url}/unload_lora_adapter", {"lora_name": name}
    try:
        await endpoint.ask("POST", url, body, want_json=False)
    except Refused as error:
        if error.status != 404:
            reason = f"{endpoint.url} does not unload {name}: {error}"
            raise Failure("policy", reason[:200]) from error
    except Unreachable as error:
        raise Failure("policy", error.at(endpoint.url)[:200]) from error
