// Blocks of one size, through which bodies pass, kept for the next body: fresh memory costs a page fault
// every 4 KiB and comes cold. Safe from any thread; a block may outlive the pool.
#pragma once

#include <cstddef>
#include <memory>

namespace gw::payloads {

class block_pool
{
public:
    explicit block_pool(std::size_t bytes); // of each block
    ~block_pool();
    block_pool(const block_pool&) = delete;
    block_pool& operator=(const block_pool&) = delete;

    // What was given back last, else a new one; its bytes are unspecified. Comes back by itself.
    [[nodiscard]] std::shared_ptr<char[]> lend();

    // Gives the system what nobody has needed since the last call. Called once a second or so.
    void trim();

    [[nodiscard]] std::size_t idle() const; // blocks

private:
    struct shelf;
    std::shared_ptr<shelf> shelf_;
};

} // namespace gw::payloads
