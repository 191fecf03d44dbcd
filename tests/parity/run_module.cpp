// Runs a TorchScript module in C++ as a user would: run_module M.pt OUT SHAPE IN [SHAPE IN]... OUT and each IN are files
// of float32 in native byte order; a SHAPE is written as 2x3x64x64.
#include <torch/script.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

static torch::Tensor read(const std::string &shape_text, const char *path) {
  std::vector<int64_t> shape;
  std::stringstream sides(shape_text);
  for (std::string side; std::getline(sides, side, 'x');) shape.push_back(std::stoll(side));
  auto tensor = torch::empty(shape);
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char *>(tensor.data_ptr<float>()), tensor.numel() * sizeof(float));
  if (!in) throw std::runtime_error(std::string(path) + " has fewer values than the shape");
  return tensor;
}

int main(int count, char **arguments) {
  if (count < 5 || count % 2 == 0) {
    std::cerr << "usage: run_module M.pt OUT SHAPE IN [SHAPE IN]..." << std::endl;
    return 2;
  }
  torch::NoGradGuard no_gradients;
  std::vector<torch::jit::IValue> inputs;
  for (int i = 3; i < count; i += 2) inputs.push_back(read(arguments[i], arguments[i + 1]));
  auto module = torch::jit::load(arguments[1]);
  auto logits = module.forward(inputs).toTensor().contiguous();
  std::ofstream out(arguments[2], std::ios::binary);
  out.write(reinterpret_cast<const char *>(logits.data_ptr<float>()), logits.numel() * sizeof(float));
  return out ? 0 : 1;
}
