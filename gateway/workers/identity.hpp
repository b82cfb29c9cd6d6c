// What makes a local worker the same worker, and how its command and environment come about. Pure: no
// process, no clock. A worker belongs to an upstream and a model. Over a reload it lives on while its
// identity is the same; a changed command, directory, environment or token makes it another one.
#pragma once

#include "config/settings.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gw::workers {

// Holds no secret: `token` is a hash.
struct identity
{
    std::string upstream;
    std::string model;
    std::vector<std::string> command; // before $model and $port are put in: the port differs with every start
    std::string directory;
    std::map<std::string, std::string> env; // before $token is put in
    std::uint64_t token = 0;                // of the token that `env` names by $token; 0: it names none
    friend bool operator==(const identity&, const identity&) = default;
};

// REQUIRES to.run
[[nodiscard]] identity identity_of(const config::upstream& to, std::string_view model);

// identity_of(to, model) == who, without making a copy.
[[nodiscard]] bool is_identity_of(const identity& who, const config::upstream& to, std::string_view model);

// A worker that a policy names.
struct named_worker
{
    const config::upstream* to = nullptr;
    std::string model;
};

// All of them: one for each upstream with a command and each model that stands literally in the policy. A
// name that only a pattern matches has none, since clients would choose how many processes run.
[[nodiscard]] std::vector<named_worker> workers_of(const config::settings& from);

// The token that `$token` stands for: the first of the upstream's that is not empty; null: none.
[[nodiscard]] const config::token* token_of(const config::upstream& to);

// The argument vector of one start. A placeholder may stand inside an argument (`--port=$port`); what is put
// in is never looked at again, and never splits an argument. The token cannot get here: a command line is
// public.
[[nodiscard]] std::vector<std::string> expand_command(const identity& who, std::uint16_t port);

// `NAME=value` of PATH, HOME, LANG, LC_ALL, TZ and TMPDIR as they are in `inherited`, and of `env`, which
// wins.
[[nodiscard]] std::vector<std::string> expand_environment(
    const identity& who,
    std::uint16_t port,
    std::string_view token,
    const std::map<std::string, std::string>& inherited
);

// Those of the six that this process has.
[[nodiscard]] std::map<std::string, std::string> inherited_environment();

} // namespace gw::workers
