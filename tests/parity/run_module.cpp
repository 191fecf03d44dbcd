// Runs a TorchScript module in C++ as a user would: run_module M.pt IN OUT SIDES..., with float32 in native order in
// IN and OUT.
#include <torch/script.h>

#include <fstream>
#include <iostream>
#include <vector>

int main(int count, char **arguments) {
  if (count < 5) {
    std::cerr << "usage: run_module M.pt IN OUT SIDES..." << std::endl;
    return 2;
  }
  std::vector<int64_t> shape;
  int64_t values = 1;
  for (int i = 4; i < count; ++i) {
    shape.push_back(std::stoll(arguments[i]));
    values *= shape.back();
  }
  std::vector<float> pixels(values);
  std::ifstream in(arguments[2], std::ios::binary);
  in.read(reinterpret_cast<char *>(pixels.data()), values * sizeof(float));
  if (!in) {
    std::cerr << arguments[2] << " holds fewer values than the shape" << std::endl;
    return 1;
  }
  torch::NoGradGuard no_gradients;
  auto module = torch::jit::load(arguments[1]);
  auto logits = module.forward({torch::from_blob(pixels.data(), shape)}).toTensor().contiguous();
  std::ofstream out(arguments[3], std::ios::binary);
  out.write(reinterpret_cast<const char *>(logits.data_ptr<float>()), logits.numel() * sizeof(float));
  return out ? 0 : 1;
}
