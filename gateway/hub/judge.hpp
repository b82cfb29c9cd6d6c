// What an answer of the Hub means: the ways of a model, or why it has none for us, and how long to leave the
// Hub alone. Pure: the present date is an argument.
#pragma once

#include "message/ways.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace gw::hub {

// An answer to a model's look-up, with the fields that count.
struct reply
{
    int status = 0;
    std::string_view content_type;
    std::string_view error_code;    // X-Error-Code
    std::string_view error_message; // X-Error-Message
    std::string_view retry_after;
    std::string_view ratelimit;
    std::string_view location;
    std::string_view body;
};

// Who asked: the words of an answer depend on it.
struct asker
{
    std::string_view model;
    std::string_view token;                  // its name in the policy; empty: none was sent
    std::string_view key = "hub: { token }"; // where the token is said
};

struct judgement
{
    hub_answer is;
    std::string renamed; // the id that the model has now: to be looked up instead, without a token
    // The Hub asked to be left alone for so long; nothing is looked up meanwhile.
    std::optional<std::chrono::milliseconds> rest;
    bool only_this = false; // an `away` that says nothing about other models
};

//   source   hub-docs, rate-limits.md; huggingface_hub, utils/_http.py
[[nodiscard]] judgement judge(const asker& who, const reply& from, std::chrono::system_clock::time_point now);

// The answer when the Hub could not be asked. It names no model: others are told the same.
[[nodiscard]] hub_answer away(std::string_view why);

} // namespace gw::hub
