// The JSON peek: the scan that every body passes, and what a dialect makes of a small one.
#include "dialects/dialect.hpp"
#include "payload/base64.hpp"
#include "wire/json_scan.hpp"
#include "wire/request_head.hpp"

#include <benchmark/benchmark.h>

#include <string>
#include <string_view>

namespace gw::dialects {
namespace {

std::string chat(std::size_t words)
{
    std::string text = R"({"model":"chat","messages":[{"role":"user","content":")";
    for (std::size_t i = 0; i < words; ++i) {
        text += "lorem ipsum dolor sit amet ";
    }
    return text + R"("}],"max_tokens":300,"temperature":0.7,"stream":false})";
}

void scan(benchmark::State& state, const std::string& text, std::size_t block)
{
    wire::json_scanner scanner;
    for (auto _ : state) {
        scanner.reset();
        bool good = true;
        for (std::size_t at = 0; good && at < text.size(); at += block) {
            good = scanner.feed(std::string_view(text).substr(at, block)).has_value();
        }
        auto index = scanner.finish();
        benchmark::DoNotOptimize(index);
        if (!good || !index) {
            state.SkipWithError("refused");
        }
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

void json_scan_of_a_chat_of_1_kb(benchmark::State& state)
{
    scan(state, chat(36), 64 * 1024);
}
BENCHMARK(json_scan_of_a_chat_of_1_kb);

// Base64 of 1 MiB, as it arrives: in blocks of 64 KiB.
void json_scan_of_a_payload_of_1_mib(benchmark::State& state)
{
    const std::string bytes(1 << 20, '\x89');
    scan(
        state, R"({"inputs":")" + payloads::encode_base64(bytes) + R"(","parameters":{"top_k":3}})", 64 * 1024
    );
}
BENCHMARK(json_scan_of_a_payload_of_1_mib);

// From the whole body to the normalized request: scan, members, door, dialect.
void parse_of_a_chat_of_1_kb(benchmark::State& state)
{
    const std::string text = chat(36);
    wire::json_scanner scanner;
    wire::request_head head;
    head.verb = wire::method::post;
    head.content_type = "application/json";
    for (auto _ : state) {
        scanner.reset();
        const bool fed = scanner.feed(text).has_value();
        const auto index = scanner.finish();
        const auto found = find_door("/v1/chat/completions", wire::method::post);
        if (!fed || !index || !found) {
            state.SkipWithError("refused");
            break;
        }
        body_facts facts{
            .json = true,
            .index = &*index,
            .text = text,
            .members = {},
            .first_bytes = {},
            .size = text.size()
        };
        for (const auto& each : index->members) {
            const auto value = std::string_view(text).substr(each.where.begin, each.where.size());
            facts.members.push_back({.name = each.key, .where = each.where, .text = value});
        }
        auto asked = found->tongue->parse(*found, head, {}, facts);
        benchmark::DoNotOptimize(asked);
        if (!asked || asked->model != "chat") {
            state.SkipWithError("refused");
        }
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(parse_of_a_chat_of_1_kb);

} // namespace
} // namespace gw::dialects
