#include "network.h"

#include <dlfcn.h>
#include <include/api/context.h>
#include <include/api/model.h>

#include <cstring>
#include <filesystem>
#include <utility>

#include "failure.h"

namespace effnet {
namespace {

namespace lite = mindspore;

constexpr const char* kLogHint = "GLOG_v=1 in the environment shows MindSpore Lite's own log";

lite::DeviceType type_of(const Device& device) {
    if (device.type == "GPU") return lite::kGPU;
    return device.type == "Ascend" ? lite::kAscend : lite::kCPU;
}

std::shared_ptr<lite::DeviceInfoContext> info_of(const Device& device) {
    const auto id = static_cast<std::uint32_t>(device.id);
    if (device.type == "GPU") {
        auto info = std::make_shared<lite::GPUDeviceInfo>();
        info->SetDeviceID(id);
        return info;
    }
    if (device.type == "Ascend") {
        auto info = std::make_shared<lite::AscendDeviceInfo>();
        info->SetDeviceID(id);
        return info;
    }
    return std::make_shared<lite::CPUDeviceInfo>();
}

/// Why Lite's part for a device does not load, in the loader's words. The names are those of the
/// PyPI wheel and of the vendor's packages.
std::string why_missing(const Device& device) {
    const std::string part =
        device.type == "GPU" ? "libtensorrt_plugin" : "libascend_kernel_plugin";
    std::string reason;
    for (const std::string& name : {part + "_python.so", part + ".so"}) {
        if (void* found = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL)) {
            dlclose(found);
            return name + " loads, but refuses this model";
        }
        const char* said = dlerror();
        const std::string text = said == nullptr ? name : said;
        // A library that misses another one explains more than a missing library.
        if (reason.empty() || text.find(name) == std::string::npos) reason = text;
        if (text.find(name) == std::string::npos) break;
    }
    return reason;
}

void require(const Device& device) {
    if (lite::Model::CheckModelSupport(type_of(device), lite::kMindIR)) return;
    throw Failure(
        ExitCode::kDevice,
        "--device " + device.type +
            ": this MindSpore Lite cannot use the device: " + why_missing(device),
        device.type == "GPU"
            ? "it needs TensorRT 8 with its CUDA and cuDNN on LD_LIBRARY_PATH, or a Lite for GPU in"
              " MS_LITE_HOME; or use --device CPU"
            : "source CANN's set_env.sh first, or set MS_LITE_HOME to a Lite for Ascend; or use"
              " --device CPU");
}

}  // namespace

Network::Network(std::string path, const Device& device)
    : path_(std::move(path)), model_(std::make_unique<lite::Model>()) {
    if (!std::filesystem::is_regular_file(path_)) {
        throw Failure(ExitCode::kOther, path_ + ": no such file",
                      "python -m effnet export --file_format MINDIR writes one");
    }
    require(device);
    auto context = std::make_shared<lite::Context>();
    context->SetThreadNum(device.threads);
    context->MutableDeviceInfo().push_back(info_of(device));
    const lite::Status status = model_->Build(path_, lite::kMindIR, context);
    if (!status.IsOk()) {
        fail("cannot be loaded on " + device.type, status.GetErrDescription(),
             std::string("python -m effnet export writes MindIR of version 1; MindSpore's own of"
                         " version 3 is not read by Lite 2.0. ") +
                 kLogHint);
    }
    const auto inputs = model_->GetInputs();
    if (inputs.size() != 1 || model_->GetOutputs().size() != 1 || inputs[0].Shape().size() != 4 ||
        inputs[0].Shape()[1] != 3 || inputs[0].DataType() != lite::DataType::kNumberTypeFloat32) {
        fail("is not a network of images", "it must take float32 N x 3 x H x W and give logits",
             "python -m effnet export --file_format MINDIR");
    }
    shape_ = inputs[0].Shape();
}

Network::~Network() = default;

void Network::prepare(int batch, int height_px, int width_px) {
    const std::vector<std::int64_t> shape{batch, 3, height_px, width_px};
    if (model_->GetInputs()[0].Shape() != shape) {
        const lite::Status status = model_->Resize(model_->GetInputs(), {shape});
        if (!status.IsOk()) {
            fail("cannot take " + std::to_string(batch) + " images at once",
                 status.GetErrDescription(),
                 "export it with --batch_size " + std::to_string(batch) + ". " + kLogHint);
        }
    }
    shape_ = shape;
    classes_ = 0;
    const auto values = static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
    classes_ = compute(std::vector<float>(values)).size() / static_cast<std::size_t>(batch);
}

std::vector<float> Network::compute(const std::vector<float>& images) {
    auto inputs = model_->GetInputs();
    const std::size_t bytes = images.size() * sizeof(float);
    if (inputs[0].DataSize() != bytes) {
        fail("cannot be fed",
             std::to_string(bytes) + " bytes for an input of " +
                 std::to_string(inputs[0].DataSize()),
             kLogHint);
    }
    std::memcpy(inputs[0].MutableData(), images.data(), bytes);
    std::vector<lite::MSTensor> outputs;
    const lite::Status status = model_->Predict(inputs, &outputs);
    if (!status.IsOk()) fail("cannot be computed", status.GetErrDescription(), kLogHint);
    const auto count = static_cast<std::size_t>(outputs.at(0).ElementNum());
    const auto batch = static_cast<std::size_t>(shape_[0]);
    const bool fits = classes_ == 0 ? count > 0 && count % batch == 0 : count == batch * classes_;
    if (!fits || outputs[0].DataType() != lite::DataType::kNumberTypeFloat32) {
        fail("gives no logits",
             std::to_string(count) + " values for " + std::to_string(batch) + " images",
             "python -m effnet export --file_format MINDIR");
    }
    const auto* logits = static_cast<const float*>(outputs[0].Data().get());
    return {logits, logits + count};
}

std::optional<int> Network::side(std::size_t at) const {
    if (shape_[at] < 1) return std::nullopt;
    return static_cast<int>(shape_[at]);
}

void Network::fail(const std::string& what, const std::string& reason,
                   const std::string& hint) const {
    throw Failure(ExitCode::kOther, path_ + " " + what + ": " + reason, hint);
}

}  // namespace effnet
