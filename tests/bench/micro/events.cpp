// The scan of event streams.
#include "answers.hpp"
#include "wire/sse.hpp"

#include <benchmark/benchmark.h>

#include <string>
#include <string_view>

namespace gw::wire {
namespace {

// Events of 120 bytes; `block`: how much arrives at once.
void events_in_blocks(benchmark::State& state)
{
    const auto block = static_cast<std::size_t>(state.range(0));
    constexpr int count = 512;
    std::string text;
    for (int i = 0; i < count; ++i) {
        text += bench::event(i);
    }
    for (auto _ : state) {
        sse_splitter cut;
        int seen = 0;
        for (std::size_t at = 0; at < text.size(); at += block) {
            cut.push(std::string_view(text).substr(at, block));
            while (const auto event = cut.next()) {
                seen += event->has_data ? 1 : 0;
            }
        }
        if (seen != count) {
            state.SkipWithError("not all events");
        }
    }
    state.SetItemsProcessed(state.iterations() * count);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(events_in_blocks)->Arg(120)->Arg(1000)->Arg(16 * 1024);

} // namespace
} // namespace gw::wire
