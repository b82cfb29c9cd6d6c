// What requests on any thread share with the supervisor's thread: one cell a worker, found by upstream and
// model.
#pragma once

#include "config/settings.hpp"
#include "workers/identity.hpp"
#include "workers/life.hpp"
#include "workers/supervisor.hpp"

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace gw::workers {

// Owned by the table, kept alive by leases. `lock` guards all that stands below it and is never held for
// longer than a few assignments.
struct cell
{
    cell(identity named, const tunables& how, std::weak_ptr<core> from)
        : who(std::move(named)), owner(std::move(from)), now(how)
    {
    }

    const identity who;
    const std::weak_ptr<core> owner; // null once the supervisor is gone

    mutable std::mutex lock;
    life now;
    int pid = 0;
    std::chrono::system_clock::time_point since = std::chrono::system_clock::now();
    std::string last_end;
    std::deque<std::string> lines;
};

using cell_ptr = std::shared_ptr<cell>;

class table
{
public:
    [[nodiscard]] cell_ptr find(const config::upstream& to, std::string_view model) const;
    void add(cell_ptr one);
    void remove(const cell_ptr& one);
    [[nodiscard]] std::vector<cell_ptr> all() const;

private:
    // A vector: a policy names a handful of workers, and comparing their models is all a search does.
    mutable std::mutex lock_;
    std::vector<cell_ptr> cells_;
};

[[nodiscard]] worker_status status_of(const cell& one);

} // namespace gw::workers
