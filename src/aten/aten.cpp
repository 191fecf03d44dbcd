// Functions of libtorch that tch does not offer. Every function returns null, or an error message that the caller
// frees.

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/functions/utils.h>

using at::Tensor;
using Tensors = Tensor *const *;

namespace {

template <typename F> char *guarded(F f) {
  try {
    f();
    return nullptr;
  } catch (const std::exception &e) {
    return strdup(e.what());
  } catch (...) {
    return strdup("an exception that is not a std::exception");
  }
}

std::vector<Tensor> list(Tensors tensors, size_t n) {
  std::vector<Tensor> out;
  out.reserve(n);
  for (size_t i = 0; i < n; i++) out.push_back(*tensors[i]);
  return out;
}

// Fused kernels read the memory of weight and gradient in parallel, so both need the same memory layout.
std::vector<Tensor> gradients(const std::vector<Tensor> &weights) {
  std::vector<Tensor> out;
  out.reserve(weights.size());
  for (const auto &weight : weights) {
    const auto &gradient = weight.grad();
    out.push_back(gradient.strides() == weight.strides() ? gradient : at::empty_like(weight).copy_(gradient));
  }
  return out;
}

// The end of a backward pass: keeps the gradient of its tensor as it arrives. Unlike the gradient of a leaf, it is not
// copied to the memory layout of the tensor, which would change how the next operations round.
struct Cut : torch::autograd::Node {
  Tensor gradient;
  torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
    gradient = std::move(gradients[0]);
    return {};
  }
};

// The node of a tensor of `carpus_cut`; null for other tensors.
Cut *cut_of(const Tensor &tensor) { return dynamic_cast<Cut *>(tensor.grad_fn().get()); }

// The random generator of the device that operations use if none is given.
at::Generator generator(bool cuda, int index) {
  return at::globalContext().defaultGenerator(cuda ? at::Device(at::kCUDA, index) : at::Device(at::kCPU));
}

} // namespace

extern "C" {

// A tensor that shares the values of `tensor`, at which backward passes end.
char *carpus_cut(Tensor *tensor, Tensor **out) {
  return guarded([&] {
    auto cut = tensor->detach();
    torch::autograd::set_history(cut, std::shared_ptr<Cut>(new Cut(), torch::autograd::deleteNode));
    *out = new Tensor(cut);
  });
}

char *carpus_is_cut(Tensor *tensor, bool *is_cut) {
  return guarded([&] { *is_cut = cut_of(*tensor) != nullptr; });
}

// Takes the gradient that arrived at a tensor of `carpus_cut`; null if none did.
char *carpus_take_gradient(Tensor *cut, Tensor **out) {
  return guarded([&] {
    auto *node = cut_of(*cut);
    TORCH_CHECK(node, "not a tensor at which backward passes end");
    *out = node->gradient.defined() ? new Tensor(std::move(node->gradient)) : nullptr;
    node->gradient = Tensor();
  });
}

char *carpus_put_gradient(Tensor *cut, Tensor *gradient) {
  return guarded([&] {
    auto *node = cut_of(*cut);
    TORCH_CHECK(node, "not a tensor at which backward passes end");
    node->gradient = *gradient;
  });
}

// Backward pass from several tensors with their gradients; an undefined gradient is 1.
char *carpus_backward(Tensors tensors, Tensors gradients, size_t n) {
  return guarded([&] { torch::autograd::backward(list(tensors, n), list(gradients, n)); });
}

char *carpus_random_state(bool cuda, int index, Tensor **out) {
  return guarded([&] {
    auto random = generator(cuda, index);
    std::lock_guard<std::mutex> lock(random.mutex());
    *out = new Tensor(random.get_state());
  });
}

char *carpus_set_random_state(bool cuda, int index, Tensor *state) {
  return guarded([&] {
    auto random = generator(cuda, index);
    std::lock_guard<std::mutex> lock(random.mutex());
    random.set_state(*state);
  });
}

char *carpus_fused_adamw(Tensors weights, Tensors first, Tensors second, Tensors steps, size_t n, double lr,
                         double beta1, double beta2, double decay, double eps) {
  return guarded([&] {
    auto w = list(weights, n);
    auto s = list(steps, n);
    at::_foreach_add_(s, 1);
    at::_fused_adamw_(w, gradients(w), list(first, n), list(second, n), {}, s, lr, beta1, beta2, decay, eps,
                      /*amsgrad=*/false, /*maximize=*/false);
  });
}

char *carpus_fused_sgd(Tensors weights, Tensors momenta, size_t n, double lr, double momentum, double decay,
                       bool nesterov, bool is_first) {
  return guarded([&] {
    auto w = list(weights, n);
    auto m = momentum == 0 ? std::vector<Tensor>{} : list(momenta, n);
    at::_fused_sgd_(w, gradients(w), m, decay, momentum, lr, /*dampening=*/0.0, nesterov, /*maximize=*/false, is_first);
  });
}

char *carpus_lerp(Tensors averages, Tensors values, size_t n, double weight) {
  return guarded([&] { at::_foreach_lerp_(list(averages, n), list(values, n), weight); });
}

char *carpus_scale(Tensors tensors, size_t n, double factor) {
  return guarded([&] { at::_foreach_mul_(list(tensors, n), factor); });
}

// The Euclidean norm of all tensors together.
char *carpus_norm(Tensors tensors, size_t n, double *norm) {
  return guarded([&] {
    *norm = n == 0 ? 0.0 : at::linalg_vector_norm(at::stack(at::_foreach_norm(list(tensors, n), 2)), 2).item<double>();
  });
}

// Multiplies by `inverse`; `found` is whether any value is infinite or NaN.
char *carpus_unscale(Tensors tensors, size_t n, double inverse, bool *found) {
  return guarded([&] {
    *found = false;
    if (n == 0) return;
    auto t = list(tensors, n);
    auto options = t[0].options().dtype(at::kFloat);
    auto flag = at::zeros({1}, options);
    at::_amp_foreach_non_finite_check_and_unscale_(t, flag, at::full({1}, inverse, options));
    *found = flag.item<float>() != 0;
  });
}

char *carpus_clear_gradients(Tensors weights, size_t n) {
  return guarded([&] {
    for (size_t i = 0; i < n; i++) weights[i]->mutable_grad().reset();
  });
}

// Sets the autocast kind of this thread (-1: no autocast). `before` is the previous state, to be restored later.
char *carpus_autocast(bool cuda, int kind, int *before) {
  return guarded([&] {
    auto device = cuda ? at::kCUDA : at::kCPU;
    *before = at::autocast::is_autocast_enabled(device) ? int(at::autocast::get_autocast_dtype(device)) : -1;
    if (kind >= 0) {
      at::autocast::set_autocast_dtype(device, at::ScalarType(kind));
      at::autocast::set_autocast_cache_enabled(true);
    }
    at::autocast::set_autocast_enabled(device, kind >= 0);
    // Weights are cast once per forward pass; the casts are dropped when it ends.
    at::autocast::clear_cache();
  });
}

char *carpus_deterministic(bool on) {
  return guarded([&] {
    // cuBLAS reads the variable when its first handle is created.
    if (on) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
    at::globalContext().setDeterministicAlgorithms(on, /*warn_only=*/false);
    at::globalContext().setDeterministicCuDNN(on);
    at::globalContext().setBenchmarkCuDNN(!on);
  });
}

// Converts the tensor to the channels-last memory format; tensors that share it change too.
char *carpus_channels_last(Tensor *tensor) {
  return guarded([&] {
    if (tensor->dim() == 4) tensor->set_data(tensor->contiguous(at::MemoryFormat::ChannelsLast));
  });
}

char *carpus_device_memory(int index, long long *peak, bool reset) {
  return guarded([&] {
    auto *allocator = at::getDeviceAllocator(at::kCUDA);
    // Index 0 is the sum over all pools.
    *peak = allocator->getDeviceStats(index).allocated_bytes[0].peak;
    if (reset) allocator->resetPeakStats(index);
  });
}
}
