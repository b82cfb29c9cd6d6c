#include "dispatch/connections.hpp"

namespace gw::dispatch {

bool connections::place::enter(connections& all, std::string_view who, std::size_t most)
{
    if (all_ != nullptr && who == who_) {
        return true;
    }
    leave();
    auto& part = all.of(who);
    {
        const std::lock_guard lock(part.guard);
        const auto at = part.open.find(who);
        if (at == part.open.end()) {
            part.open.emplace(who, 1); // a limit is at least one
        } else if (at->second < most) {
            ++at->second;
        } else {
            return false;
        }
    }
    all_ = &all;
    who_ = who;
    return true;
}

void connections::place::leave()
{
    if (all_ == nullptr) {
        return;
    }
    auto& part = all_->of(who_);
    const std::lock_guard lock(part.guard);
    const auto at = part.open.find(who_);
    if (--at->second == 0) {
        part.open.erase(at);
    }
    all_ = nullptr;
}

std::size_t connections::clients()
{
    std::size_t sum = 0;
    for (auto& each : shards_) {
        const std::lock_guard lock(each.guard);
        sum += each.open.size();
    }
    return sum;
}

} // namespace gw::dispatch
