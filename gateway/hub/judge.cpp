#include "hub/judge.hpp"

#include "hub/read.hpp"
#include "wire/retry.hpp"

#include <algorithm>

namespace gw::hub {
namespace {

constexpr std::chrono::seconds default_rest{60}; // after a 429 that names no time

std::string in_ticks(std::string_view text)
{
    return '`' + std::string(text) + '`';
}

// A relative Location of another model: /api/models/{id}, perhaps with a query. The id is checked again by
// whoever uses it: as a target it is written anew.
std::string renamed_to(std::string_view location)
{
    constexpr std::string_view prefix = "/api/models/";
    if (!location.starts_with(prefix)) {
        return {};
    }
    location.remove_prefix(prefix.size());
    location = location.substr(0, location.find_first_of("?#"));
    const bool plain = std::ranges::all_of(location, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
               c == '_' || c == '.' || c == '/';
    });
    const bool shaped = !location.empty() && location.size() <= 200 &&
                        std::ranges::count(location, '/') <= 1 && !location.contains("..") &&
                        location.front() != '/' && location.back() != '/';
    return plain && shaped ? std::string(location) : std::string();
}

hub_answer unknown(const asker& who)
{
    const std::string model = in_ticks(who.model);
    return {
        .what = hub_says::unknown,
        .of = nullptr,
        .text = who.token.empty()
                    ? "the Hub shows no model " + model +
                          " to somebody without a token: it does not exist, or it is private. Check the "
                          "spelling (https://huggingface.co/models?search=...); for a private model name a "
                          "token of its owner in the policy's " +
                          in_ticks(who.key)
                    : "the Hub shows no model " + model + " to the token " + in_ticks(who.token) +
                          ": it does not exist, or it is private and not this account's. Check the spelling "
                          "(https://huggingface.co/models?search=...), or name a token of its owner in the "
                          "policy's " +
                          in_ticks(who.key)
    };
}

hub_answer gated(const asker& who)
{
    const std::string page = "https://huggingface.co/" + std::string(who.model);
    std::string text = "the model " + in_ticks(who.model) + " is gated: accept its conditions at " + page;
    text += who.token.empty() ? ", then name a token of that account in the policy's " + in_ticks(who.key)
                              : " with the account of the token " + in_ticks(who.token) +
                                    " and wait until access is granted";
    return {.what = hub_says::gated, .of = nullptr, .text = std::move(text)};
}

hub_answer disabled(const asker& who, std::shared_ptr<const ways> of)
{
    return {
        .what = hub_says::disabled,
        .of = std::move(of),
        .text = "the Hub has disabled the model " + in_ticks(who.model) +
                ": nobody can load it from there. Use another one; https://huggingface.co/" +
                std::string(who.model) + " may say why"
    };
}

hub_answer found(const asker& who, std::string_view body)
{
    auto read = read_ways(body, who.model);
    if (!read) {
        return away(read.error().text);
    }
    auto of = std::make_shared<const ways>(std::move(*read));
    return of->disabled ? disabled(who, std::move(of))
                        : hub_answer{.what = hub_says::found, .of = std::move(of), .text = {}};
}

std::optional<std::chrono::milliseconds> rest_of(const reply& from, std::chrono::system_clock::time_point now)
{
    const auto limit = wire::parse_rate_limit(from.ratelimit);
    if (limit && limit->remaining == 0) {
        return std::max<std::chrono::milliseconds>(limit->reset, std::chrono::seconds(1));
    }
    if (from.status == 429 || from.status == 503) {
        if (const auto wait = wire::retry_after(from.retry_after, now)) {
            return std::max<std::chrono::milliseconds>(*wait, std::chrono::seconds(1));
        }
        if (from.status == 429) {
            return default_rest;
        }
    }
    return std::nullopt;
}

} // namespace

hub_answer away(std::string_view why)
{
    return {.what = hub_says::away, .of = nullptr, .text = "the Hub could not be asked: " + std::string(why)};
}

judgement judge(const asker& who, const reply& from, std::chrono::system_clock::time_point now)
{
    judgement made{.is = {}, .renamed = {}, .rest = rest_of(from, now)};
    switch (from.status) {
    case 200:
        made.is = found(who, from.body);
        made.only_this = true;
        return made;
    case 301:
    case 302:
    case 307:
    case 308:
        made.renamed = renamed_to(from.location);
        made.is = away("it answers with a redirect to another place, which is not followed");
        made.only_this = true;
        return made;
    case 400:
    case 422:
        made.is = {
            .what = hub_says::unknown,
            .of = nullptr,
            .text = "the Hub does not take " + in_ticks(who.model) + " for the name of a model"
        };
        return made;
    case 401:
    case 403:
        // Without a token 401 is also what a model gets that is not there; with one, X-Error-Code says so.
        if (from.error_code == "GatedRepo") {
            made.is = gated(who);
        } else if (from.error_message.contains("is disabled")) {
            made.is = disabled(who, nullptr);
        } else if (from.error_code == "RepoNotFound" || (from.status == 401 && who.token.empty())) {
            made.is = unknown(who);
        } else if (from.status == 403) {
            made.is = gated(who);
        } else {
            made.is =
                away("it refuses the token " + in_ticks(who.token) + " of the policy's " + in_ticks(who.key));
        }
        return made;
    case 404:
    case 410:
        made.is = unknown(who);
        return made;
    case 429:
        made.is =
            away("its limit of requests is reached; a token in " + in_ticks(who.key) + " has a higher one");
        return made;
    default:
        made.is = away("it answered with status " + std::to_string(from.status));
        return made;
    }
}

} // namespace gw::hub
