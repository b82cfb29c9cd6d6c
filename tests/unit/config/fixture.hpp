// What the tests of the loader share: an environment without the process's own, and problems as sentences.
#pragma once

#include "config/load.hpp"

#include <map>
#include <string>
#include <vector>

namespace gw::config {

// Values with CANARY must never be printed.
inline environment fake_environment(std::map<std::string, std::string, std::less<>> more = {})
{
    std::map<std::string, std::string, std::less<>> all{
        {"HF_TOKEN", "hf_CANARY_environment"},
        {"EMPTY", ""},
        {"BROKEN_TOKEN", "hf_CANARY\r\nX: y"},
        {"SPACED_TOKEN", "hf_CANARY x"},
    };
    all.merge(more);
    return [all](std::string_view name) -> std::optional<std::string> {
        const auto found = all.find(name);
        return found != all.end() ? std::optional(found->second) : std::nullopt;
    };
}

inline std::vector<std::string> sentences(const loaded& from)
{
    std::vector<std::string> out;
    if (!from) {
        for (const auto& each : from.error()) {
            out.push_back(to_string(each));
        }
    }
    return out;
}

} // namespace gw::config
