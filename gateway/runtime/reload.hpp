// Loads the policy again while the gateway runs: builds everything whole, compares it with what cannot change
// without a restart, and touches nothing that serves. Blocking: it reads files. The caller swaps.
#pragma once

#include "dispatch/core.hpp"
#include "runtime/runtime.hpp"

#include <memory>
#include <string>
#include <vector>

namespace gw::runtime {

struct reloaded
{
    std::shared_ptr<const dispatch::snapshot> next; // null: `problems` say why, the old one stays
    std::vector<std::string> problems;
    std::vector<std::string> warnings; // what the new policy says and only a restart can do
};

//   bound   the settings of the start: where the listeners are, the spool's budgets
//   now     what serves at present
[[nodiscard]] reloaded
load_again(const options& how, const config::settings& bound, const dispatch::snapshot& now);

} // namespace gw::runtime
