// Policy: may this client have this model, and which upstreams may answer in which order. Pure: no clock, no
// sockets, randomness as an argument.
#pragma once

#include "config/settings.hpp"
#include "message/failure.hpp"
#include "message/request.hpp"
#include "message/ways.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gw::policy {

struct candidate
{
    const config::upstream* to = nullptr;
    std::string model;        // its name there; with `:provider` behind it where one was named
    bool at_provider = false; // `model` is what that provider calls it, not its name on the Hub
    std::uint32_t rank = 0;
    std::uint32_t weight = 1;
};

struct plan
{
    const config::model_entry* entry = nullptr;
    std::string model;    // resolved: an alias replaced by the entry's name, a provider suffix taken off
    std::string provider; // that suffix without its colon; empty: none
    const task_info* task = nullptr; // null: neither the request nor the policy says
    std::vector<candidate>
        candidates; // in the order to be tried: ascending rank, equal ranks shuffled by weight
    std::shared_ptr<const ways> known; // what the Hub says of the model; null: it was not asked, or is away
    // The rest stands on what the Hub says of `model`: look it up and decide again. No candidates yet.
    bool asks_hub = false;
};

// What a model name stands for, before anybody asks whether it is allowed.
struct resolved
{
    const config::model_entry* entry = nullptr;
    std::string model;
    std::string provider;
};

// Decides about one request.
//   who       null: open
//   random    any 64 bits: they order candidates of equal rank, each first as often as its weight says
//   looked_up what a look-up of the model ended with; null: it was not asked yet. A model that the policy
//             names with a route of its own needs none
//   returns   a plan with at least one candidate, or one that asks the Hub; pointers live as long as `now`
//   errors    invalid_model (neither in the policy nor a Hub id), unknown_model (names near ones that this
//   client may
//             use), forbidden (not this client's), unknown_task (the client named one that is not in the
//             table), wrong_modality (a chat door for a model of another task, or the reverse); and of what
//             is looked up: unsupported (the model lacks the way that was asked for, or has none that this
//             policy could use: the text says which ones it has; or the Hub disabled it), unknown_model (the
//             Hub shows none of this name), token_rejected (gated)
[[nodiscard]] result<plan> decide(
    const config::client* who,
    const request& asked,
    const config::settings& now,
    std::uint64_t random,
    const hub_answer* looked_up = nullptr
);

// errors: invalid_model, unknown_model. `who` only bounds which names an unknown_model text may mention.
[[nodiscard]] result<resolved>
resolve(std::string_view model, const config::client* who, const config::settings& now);

// True when the client may use the resolved name; everybody may when open (null).
[[nodiscard]] bool allowed(const config::client* who, std::string_view model);

// A Hub id: `name` or `namespace/name`, each `[A-Za-z0-9][A-Za-z0-9_.-]{0,95}`, without `..`, `--` or `.git`
// at its end.
[[nodiscard]] bool is_hub_id(std::string_view name);

// The closed list of `:provider` suffixes that the router understands.
[[nodiscard]] bool is_provider(std::string_view suffix);

// ---- what the Hub's answer changes (ways.cpp) ----

// True when `asked` cannot be decided well without a look-up.
[[nodiscard]] bool needs_hub(const request& asked, const resolved& what, const config::settings& now);

// In place of a look-up for a name that stands in the policy and cannot be one of the Hub's.
[[nodiscard]] const hub_answer& no_hub_id();

// Leaves the candidates that the model has, in their order. `task` is what is asked for; null: not known.
//   errors   unsupported, unknown_model, token_rejected, as above
[[nodiscard]] result<void> keep_ways_that_exist(
    std::vector<candidate>& candidates, const resolved& what, const task_info* task, const hub_answer& said
);

// Where hf-inference does not serve the task, those that do take its place, each with its own name of the
// model: at most three, or the one that the client named. Chats stay as they are: the router chooses.
void name_at_providers(
    std::vector<candidate>& candidates, const resolved& what, const task_info* task, const ways& known
);

} // namespace gw::policy
