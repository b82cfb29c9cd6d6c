// Base64 by each kernel, into one buffer that is used again. The comparison with pybase64 and OpenSSL's EVP
// is compare_base64.py, where all three allocate alike.
#include "payload/base64.hpp"
#include "payload/base64_kernel.hpp"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

namespace gw::payloads {
namespace {

constexpr std::int64_t kib = 1024;

std::string sample(std::size_t size)
{
    std::mt19937 random(1);
    std::string made(size, '\0');
    for (char& each : made) {
        each = static_cast<char>(random());
    }
    return made;
}

const base64_kernel* kernel_of(std::string_view name)
{
    for (const base64_kernel* each : kernels()) {
        if (each->name == name) {
            return each;
        }
    }
    return nullptr;
}

void encode(benchmark::State& state, const std::string& name)
{
    const base64_kernel* kernel = kernel_of(name);
    if (kernel == nullptr) {
        state.SkipWithError("not run on this CPU");
        return;
    }
    const std::size_t triples = static_cast<std::size_t>(state.range(0)) / 3;
    const std::string bytes = sample(3 * triples);
    const auto out = std::make_unique_for_overwrite<char[]>(4 * triples);
    for (auto _ : state) {
        kernel->encode_blocks(reinterpret_cast<const std::uint8_t*>(bytes.data()), triples, out.get());
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}

void decode(benchmark::State& state, const std::string& name)
{
    const base64_kernel* kernel = kernel_of(name);
    if (kernel == nullptr) {
        state.SkipWithError("not run on this CPU");
        return;
    }
    const std::size_t quads = static_cast<std::size_t>(state.range(0)) / 3;
    const std::string text = encode_base64(sample(3 * quads));
    const auto out = std::make_unique_for_overwrite<std::uint8_t[]>(3 * quads);
    for (auto _ : state) {
        if (kernel->decode_blocks(text.data(), quads, out.get()) != quads) {
            state.SkipWithError("good base64 is refused");
        }
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(3 * quads));
}

[[maybe_unused]] const bool registered = [] {
    for (const char* name : {"avx512vbmi", "avx2", "portable"}) {
        for (const auto& [what, run] :
             {std::pair{"base64_encode/", &encode}, std::pair{"base64_decode/", &decode}}) {
            benchmark::RegisterBenchmark((what + std::string(name)).c_str(), run, std::string(name))
                ->Arg(64 * kib)
                ->Arg(1024 * kib)
                ->Arg(16 * 1024 * kib);
        }
    }
    return true;
}();

} // namespace
} // namespace gw::payloads
