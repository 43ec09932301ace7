"""A CPU platform for verl 0.9.1, by verl's own extension points, for tests alone.

VERL_USE_EXTERNAL_MODULES=cpu_platform (verl imports it), VERL_PLATFORM=cpu, and VERL_ENGINE_DEVICE=cuda, with which
verl's registry gives its stock FSDP engine. Two functions of verl's are replaced. `initialize_global_process_group_ray`
asks for the backends "cpu:gloo,<device>:gloo", which torch refuses where the device is a CPU too.
`fsdp2_sharded_save_to_cpu` copies weights by `.cpu()`, which is no copy of what is on the CPU already: separate_async
would find the present weights in its place for old ones.
"""

import types
from contextlib import contextmanager

import torch
import verl.utils.distributed
import verl.utils.fsdp_utils
from verl.plugin.platform import PlatformBase, PlatformRegistry


class _CpuModule(types.ModuleType):
    """torch.cpu, and the calls that verl makes on an accelerator's module."""

    def __getattr__(self, name):
        return getattr(torch.cpu, name)


def _nothing(*args, **kwargs):
    return None


def _zero(*args, **kwargs):
    return 0


module = _CpuModule("verl_cpu_device_module")
module.is_available = lambda: False  # "no accelerator": verl's memory helpers return early
module.device_count = lambda: 1
module.get_device_name = lambda *args, **kwargs: "CPU"
module.mem_get_info = lambda *args, **kwargs: (1, 1)
# on resuming verl restores the accelerator's random state
module.get_rng_state, module.set_rng_state = torch.get_rng_state, torch.set_rng_state
for _name in ("set_device", "synchronize", "empty_cache", "manual_seed", "manual_seed_all", "reset_peak_memory_stats"):
    setattr(module, _name, _nothing)
for _name in ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"):
    setattr(module, _name, _zero)


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    device_name = "cpu"
    vendor_name = "cpu"
    device_module = module

    def is_available(self):
        return True

    def current_device(self):
        return torch.device("cpu")

    def device_count(self):
        return 1

    def set_device(self, device_index):
        pass

    def synchronize(self, device_index=None):
        pass

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    def manual_seed_all(self, seed):
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings):
        pass

    def empty_cache(self):
        pass

    def get_device_capability(self, device_index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "VERL_CPU_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg):
        yield

    def profiler_start(self):
        pass

    def profiler_stop(self):
        pass

    def ray_resource_name(self):
        return "GPU"  # a logical resource of Ray: main_ppo starts it with num_gpus = ranks

    def ray_resource_options(self, num_gpus):
        return {"num_gpus": num_gpus}

    def ray_noset_envvars(self):
        return []

    def is_ipc_supported(self):
        return False

    def cudart(self):
        return None


_stock = verl.utils.distributed.initialize_global_process_group_ray


def _gloo(timeout_second=None, backend=None):
    return _stock(timeout_second=timeout_second, backend=backend or "gloo")


verl.utils.distributed.initialize_global_process_group_ray = _gloo

_stock_save = verl.utils.fsdp_utils.fsdp2_sharded_save_to_cpu


def _copied(model):
    state, spec = _stock_save(model)
    return {name: (value.clone(), its_spec) for name, (value, its_spec) in state.items()}, spec


verl.utils.fsdp_utils.fsdp2_sharded_save_to_cpu = _copied
