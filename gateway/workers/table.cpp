#include "workers/table.hpp"

#include "workers/core.hpp"

#include <algorithm>

namespace gw::workers {

cell_ptr table::find(const config::upstream& to, std::string_view model) const
{
    const std::scoped_lock guard(lock_);
    const auto found = std::ranges::find_if(cells_, [&](const cell_ptr& each) {
        return is_identity_of(each->who, to, model);
    });
    return found == cells_.end() ? nullptr : *found;
}

void table::add(cell_ptr one)
{
    const std::scoped_lock guard(lock_);
    cells_.push_back(std::move(one));
}

void table::remove(const cell_ptr& one)
{
    const std::scoped_lock guard(lock_);
    std::erase(cells_, one);
}

std::vector<cell_ptr> table::all() const
{
    const std::scoped_lock guard(lock_);
    return cells_;
}

worker_status status_of(const cell& one)
{
    const std::scoped_lock guard(one.lock);
    const life& now = one.now;
    const bool down = now.now() == life::state::stopped && now.down(std::chrono::steady_clock::now());
    const bool runs = now.now() != life::state::stopped;
    return {
        .upstream = one.who.upstream,
        .model = one.who.model,
        .state = std::string(down ? "down" : to_string(now.now())),
        .pid = one.pid,
        .port = runs ? now.current().port : std::uint16_t{0},
        .in_flight = now.in_flight(),
        .starts = now.starts(),
        .crashes = now.crashes(),
        .since = one.since,
        .last_end = one.last_end,
        .last_lines = {one.lines.begin(), one.lines.end()},
    };
}

lease::lease(std::shared_ptr<cell> from, ready_worker where) : cell_(std::move(from)), where_(where) {}

lease& lease::operator=(lease&& other) noexcept
{
    if (this != &other) {
        give_back();
        cell_ = std::move(other.cell_);
        where_ = other.where_;
    }
    return *this;
}

lease::~lease()
{
    give_back();
}

void lease::give_back()
{
    const std::shared_ptr<cell> from = std::exchange(cell_, nullptr);
    if (!from) {
        return;
    }
    bool due = false;
    {
        const std::scoped_lock guard(from->lock);
        due = from->now.give_back(where_.generation, std::chrono::steady_clock::now());
    }
    if (due) {
        if (const std::shared_ptr<core> owner = from->owner.lock()) {
            owner->look_at(from);
        }
    }
}

} // namespace gw::workers
