// The floor: what a run costs when nothing but ONNX Runtime's C API stands between the clock and the session.
//
// Inputs and outputs are bound once to memory of the caller; each run lies between two readings of CLOCK_MONOTONIC.
// The API is a table of functions whose order only ever grows at its end. No wheel ships its header, so the few slots
// that are needed are named here; `floor_version` lets the caller check that the library is the one it means (slots
// checked with ONNX Runtime 1.32.0: answers equal the Python API's, which a wrong slot could not yield).
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

namespace {

using Slot = void (*)();
using Status = void*;  // null: all well

struct ApiBase {
  const void* (*get_api)(uint32_t version);
  const char* (*get_version_string)();
};

enum SlotIndex {
  kGetErrorMessage = 2,
  kCreateEnv = 3,
  kCreateSession = 7,
  kCreateSessionOptions = 10,
  kSetGraphOptimizationLevel = 23,
  kSetIntraOpNumThreads = 24,
  kSetInterOpNumThreads = 25,
  kCreateTensorWithData = 49,
  kCreateCpuMemoryInfo = 69,
  kReleaseEnv = 92,
  kReleaseStatus = 93,
  kReleaseMemoryInfo = 94,
  kReleaseSession = 95,
  kReleaseValue = 96,
  kReleaseSessionOptions = 100,
  kRunWithBinding = 133,
  kCreateIoBinding = 134,
  kReleaseIoBinding = 135,
  kBindInput = 136,
  kBindOutput = 137,
};

constexpr uint32_t kApiVersion = 16;  // long before every supported wheel; all slots above are older
constexpr int kEnableAllOptimizations = 99;
constexpr int kErrorsOnly = 3;
constexpr int kArenaAllocator = 1;
constexpr int kDefaultMemory = 0;

struct Floor {
  const Slot* api = nullptr;
  void* env = nullptr;
  void* options = nullptr;
  void* session = nullptr;
  void* memory = nullptr;
  void* binding = nullptr;
  std::vector<void*> values;
  std::string error;
};

template <typename... Arguments>
bool call(Floor& floor, SlotIndex slot, Arguments... arguments) {
  Status status = reinterpret_cast<Status (*)(Arguments...)>(floor.api[slot])(arguments...);
  if (status == nullptr) return true;
  floor.error = reinterpret_cast<const char* (*)(Status)>(floor.api[kGetErrorMessage])(status);
  reinterpret_cast<void (*)(Status)>(floor.api[kReleaseStatus])(status);
  return false;
}

void release(Floor& floor, SlotIndex slot, void* object) {
  if (object != nullptr) reinterpret_cast<void (*)(void*)>(floor.api[slot])(object);
}

int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

const ApiBase* api_base(const char* library) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return nullptr;
  auto entry = reinterpret_cast<const ApiBase* (*)()>(dlsym(handle, "OrtGetApiBase"));
  return entry == nullptr ? nullptr : entry();
}

}  // namespace

extern "C" {

// The version of the library at that path; null where it cannot be loaded.
const char* floor_version(const char* library) {
  const ApiBase* base = api_base(library);
  return base == nullptr ? nullptr : base->get_version_string();
}

// Always returns a floor; `floor_error` says whether the model could be opened. `floor_close` releases it.
void* floor_open(const char* library, const char* model, int threads) {
  auto* floor = new Floor;
  const ApiBase* base = api_base(library);
  floor->api = base == nullptr ? nullptr : static_cast<const Slot*>(base->get_api(kApiVersion));
  if (floor->api == nullptr) {
    floor->error = "the library cannot be loaded or lacks the API";
    return floor;
  }
  Floor& f = *floor;
  call(f, kCreateEnv, kErrorsOnly, "floor", &f.env) && call(f, kCreateSessionOptions, &f.options) &&
      call(f, kSetGraphOptimizationLevel, f.options, kEnableAllOptimizations) &&
      call(f, kSetIntraOpNumThreads, f.options, threads) && call(f, kSetInterOpNumThreads, f.options, 1) &&
      call(f, kCreateSession, f.env, model, f.options, &f.session) &&
      call(f, kCreateCpuMemoryInfo, kArenaAllocator, kDefaultMemory, &f.memory) &&
      call(f, kCreateIoBinding, f.session, &f.binding);
  return floor;
}

// What went wrong last; empty: nothing.
const char* floor_error(void* floor) { return static_cast<Floor*>(floor)->error.c_str(); }

// Binds memory of the caller, which must outlive the floor. `element` is ONNX's number of the element type.
int floor_bind(void* floor, int is_output, const char* name, void* data, size_t bytes, const int64_t* shape,
               size_t rank, int element) {
  Floor& f = *static_cast<Floor*>(floor);
  void* value = nullptr;
  if (!call(f, kCreateTensorWithData, f.memory, data, bytes, shape, rank, element, &value)) return 1;
  f.values.push_back(value);
  return call(f, is_output ? kBindOutput : kBindInput, f.binding, name, value) ? 0 : 1;
}

// Runs back to back until `duration_ns` has passed or `most` runs are done; returns how many, -1 on an error.
int64_t floor_run(void* floor, int64_t duration_ns, int64_t* latencies_ns, int64_t most) {
  Floor& f = *static_cast<Floor*>(floor);
  auto run = reinterpret_cast<Status (*)(void*, void*, void*)>(f.api[kRunWithBinding]);
  const int64_t deadline_ns = now_ns() + duration_ns;
  int64_t runs = 0;
  while (runs < most) {
    const int64_t begun = now_ns();
    Status status = run(f.session, nullptr, f.binding);
    const int64_t ended = now_ns();
    if (status != nullptr) {
      reinterpret_cast<void (*)(Status)>(f.api[kReleaseStatus])(status);
      f.error = "a run failed";
      return -1;
    }
    latencies_ns[runs++] = ended - begun;
    if (ended >= deadline_ns) break;
  }
  return runs;
}

void floor_close(void* floor) {
  auto* f = static_cast<Floor*>(floor);
  if (f->api != nullptr) {
    release(*f, kReleaseIoBinding, f->binding);
    for (void* value : f->values) release(*f, kReleaseValue, value);
    release(*f, kReleaseMemoryInfo, f->memory);
    release(*f, kReleaseSession, f->session);
    release(*f, kReleaseSessionOptions, f->options);
    release(*f, kReleaseEnv, f->env);
  }
  delete f;
}

}  // extern "C"
