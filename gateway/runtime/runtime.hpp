// The running gateway: cores and their threads, listeners, the control thread (signals, reload, admin
// listener), and the orderly end. Main owns one; run() returns the exit code.
#pragma once

#include "config/load.hpp"
#include "message/failure.hpp"

#include <memory>
#include <string>

namespace gw::runtime {

struct options
{
    std::string config; // empty: no file, HF_TOKEN alone
    config::overrides flags;
    unsigned threads = 0;   // 0: one per core of this machine
    std::string executable; // this binary, for worker launchers
    std::string version;
    config::environment environment;
};

class runtime
{
public:
    runtime(options how, std::shared_ptr<const config::settings> first);
    ~runtime();
    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;

    // Binds every address, prints the ready line, serves until a signal, drains.
    //   returns   0; 1 when an address cannot be bound
    [[nodiscard]] int run();

private:
    class parts;
    std::unique_ptr<parts> parts_;
};

} // namespace gw::runtime
