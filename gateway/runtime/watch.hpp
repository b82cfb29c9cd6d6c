// Notices that a file the settings came from has changed: looked at once a second by device, inode, size and
// time of the file behind every link, so that a swapped symlink counts. Runs on the control thread.
#pragma once

#include "config/settings.hpp"
#include "net/asio.hpp"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace gw::runtime {

// The policy file and every file it names: secrets, certificates, trusted roots.
[[nodiscard]] std::vector<std::string> watched_files(const std::string& policy, const config::settings& now);

class file_watch
{
public:
    file_watch(net::asio::io_context& on, std::function<void()> changed);

    // What to look at from now on. A file that was looked at before is compared with what it was then, a new
    // one with its present state.
    void files(std::vector<std::string> names);

    // Takes the present state of every file as known, without a call: what follows reads them.
    void look_now();

private:
    void look();
    bool compare(); // true: something changed

    net::timer timer_;
    std::function<void()> changed_;
    std::map<std::string, std::string> seen_; // name to what identifies its content
};

} // namespace gw::runtime
