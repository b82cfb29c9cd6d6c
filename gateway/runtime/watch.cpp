#include "runtime/watch.hpp"

#include <sys/stat.h>

namespace gw::runtime {
namespace {

std::string state_of(const std::string& name)
{
    struct stat what{};
    if (::stat(name.c_str(), &what) != 0) {
        return "absent";
    }
    return std::to_string(what.st_dev) + ":" + std::to_string(what.st_ino) + ":" +
           std::to_string(what.st_size) + ":" + std::to_string(what.st_mtim.tv_sec) + "." +
           std::to_string(what.st_mtim.tv_nsec);
}

} // namespace

std::vector<std::string> watched_files(const std::string& policy, const config::settings& now)
{
    std::vector<std::string> names{policy};
    const auto add = [&names](const std::string& name) {
        if (!name.empty()) {
            names.push_back(name);
        }
    };
    for (const auto& each : now.tokens) {
        add(each->file);
    }
    for (const auto& each : now.upstreams) {
        add(each->ca_file);
    }
    add(now.hub.ca_file);
    for (const auto& each : now.listen) {
        add(each.certificate);
        add(each.key);
    }
    return names;
}

file_watch::file_watch(net::asio::io_context& on, std::function<void()> changed)
    : timer_(on), changed_(std::move(changed))
{
    look();
}

void file_watch::files(std::vector<std::string> names)
{
    std::map<std::string, std::string> next;
    for (auto& each : names) {
        const auto known = seen_.find(each);
        next.emplace(each, known != seen_.end() ? known->second : state_of(each));
    }
    seen_ = std::move(next);
}

void file_watch::look()
{
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([this](net::error_code ec) {
        if (ec) {
            return;
        }
        if (compare()) {
            changed_();
        }
        look();
    });
}

bool file_watch::compare()
{
    bool changed = false;
    for (auto& [name, state] : seen_) {
        std::string now = state_of(name);
        if (now != state && now != "absent") { // a file that is being replaced is away for a moment
            state = std::move(now);
            changed = true;
        }
    }
    return changed;
}

void file_watch::look_now()
{
    (void)compare();
}

} // namespace gw::runtime
