// The scans of heads: of what an SDK sends, and of what an upstream answers.
#include "wire/request_head.hpp"
#include "wire/response_head.hpp"

#include <benchmark/benchmark.h>

#include <string_view>

namespace gw::wire {
namespace {

constexpr std::string_view from_sdk = "POST /v1/chat/completions HTTP/1.1\r\n"
                                      "Host: gateway.company.internal:8080\r\n"
                                      "Accept-Encoding: gzip, deflate\r\n"
                                      "Connection: keep-alive\r\n"
                                      "Accept: application/json\r\n"
                                      "Content-Type: application/json\r\n"
                                      "User-Agent: OpenAI/Python 1.99.1\r\n"
                                      "X-Stainless-Lang: python\r\n"
                                      "X-Stainless-Package-Version: 1.99.1\r\n"
                                      "X-Stainless-OS: Linux\r\n"
                                      "X-Stainless-Arch: x64\r\n"
                                      "X-Stainless-Runtime: CPython\r\n"
                                      "X-Stainless-Runtime-Version: 3.11.2\r\n"
                                      "Authorization: Bearer hf_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n"
                                      "X-Stainless-Async: false\r\n"
                                      "x-stainless-retry-count: 0\r\n"
                                      "x-stainless-read-timeout: 600\r\n"
                                      "Content-Length: 1060\r\n\r\n";

constexpr std::string_view from_upstream = "HTTP/1.1 200 OK\r\n"
                                           "Date: Sun, 15 Nov 2026 12:00:00 GMT\r\n"
                                           "Content-Type: application/json\r\n"
                                           "Content-Length: 1702\r\n"
                                           "Connection: keep-alive\r\n"
                                           "x-request-id: 9c505fbf195b6573e232191cf315c49f\r\n"
                                           "x-inference-provider: together\r\n"
                                           "ratelimit: \"api\";r=499;t=212\r\n"
                                           "vary: Origin\r\n"
                                           "strict-transport-security: max-age=31536000\r\n"
                                           "server: uvicorn\r\n\r\n";

void request_head_of_an_sdk(benchmark::State& state)
{
    request_head head;
    for (auto _ : state) {
        auto size = scan_request_head(from_sdk, {}, head);
        benchmark::DoNotOptimize(size);
        if (!size || *size != from_sdk.size()) {
            state.SkipWithError("refused");
        }
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(from_sdk.size()));
}
BENCHMARK(request_head_of_an_sdk);

void response_head_of_a_provider(benchmark::State& state)
{
    response_head head;
    for (auto _ : state) {
        auto size = scan_response_head(from_upstream, response_limits, head);
        benchmark::DoNotOptimize(size);
        if (!size || *size != from_upstream.size()) {
            state.SkipWithError("refused");
        }
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(from_upstream.size()));
}
BENCHMARK(response_head_of_a_provider);

} // namespace
} // namespace gw::wire
