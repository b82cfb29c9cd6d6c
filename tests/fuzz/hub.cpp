// Whatever the Hub answers: what is taken from it can be shown and sent, lists are bounded, a yes and a no
// both have their reason, a new name stays a name, and no wait is longer than a month.
#include "hub/judge.hpp"
#include "hub/read.hpp"

#include "property.hpp"

#include <algorithm>
#include <array>

using namespace gw;

namespace {

bool plain(std::string_view text)
{
    return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

void check(const ways& of)
{
    require(!of.model.empty() && plain(of.model), "a name");
    require(plain(of.task) && plain(of.task_why) && plain(of.gated), "words");
    require(of.providers.size() <= 100 && of.spaces.size() <= 100, "bounded lists");
    for (const auto& each : of.providers) {
        require(!each.provider.empty() && !each.id.empty() && plain(each.provider), "a provider");
        require(plain(each.id) && plain(each.task), "what it is called there");
    }
    for (const auto& each : of.spaces) {
        require(!each.empty() && plain(each), "a Space");
    }
    for (const auto& each : of.engines) {
        require(!each.engine.empty() && !each.why.empty() && plain(each.why), "an engine");
    }
    for (const auto* each : {&of.transformers, &of.transformers_js, &of.llama_cpp, &of.tei}) {
        require(!each->why.empty() && plain(each->why), "a reason");
    }
    require(plain(in_words(of)), "in words");
}

} // namespace

GW_FUZZ(input)
{
    const auto read = hub::read_ways(input, "a/b");
    if (read) {
        check(*read);
    }
    require(plain(hub::read_stage(input)), "a stage");

    // The same bytes as body and as fields, with every status that means something.
    constexpr std::array statuses{200, 301, 400, 401, 403, 404, 429, 500, 503};
    for (const int status : statuses) {
        const hub::reply from{
            .status = status,
            .content_type = {},
            .error_code = input,
            .error_message = input,
            .retry_after = input,
            .ratelimit = input,
            .location = input,
            .body = input
        };
        const auto made = hub::judge({.model = "a/b"}, from, std::chrono::system_clock::time_point{});
        require(made.is.of == nullptr || status == 200, "ways only from a good answer");
        require((made.is.what == hub_says::found) == made.is.text.empty(), "a no has words");
        require(plain(made.is.text), "that can be shown");
        require(
            !made.rest || (made.rest->count() >= 0 && *made.rest <= std::chrono::hours(31 * 24)), "a wait"
        );
        require(
            made.renamed.empty() ||
                hub::model_target(made.renamed).starts_with("/api/models/" + made.renamed + "?"),
            "a name"
        );
    }
}
