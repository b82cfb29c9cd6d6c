// The state of one request while serve() carries it: private to ingress/serve.cpp and ingress/pump.cpp.
#pragma once

#include "dialects/dialect.hpp"
#include "dispatch/dispatch.hpp"
#include "ingress/body.hpp"
#include "ingress/serve.hpp"
#include "ingress/writer.hpp"
#include "net/event.hpp"
#include "net/interrupt.hpp"
#include "policy/decide.hpp"
#include "telemetry/access_record.hpp"

#include <memory>
#include <optional>
#include <string>

namespace gw::ingress {

class request_run
{
public:
    request_run(client_side& from, std::size_t head_size);

    // The stages, in order: go() up to the answer's first content (or the whole of an answer of our own),
    // then pump(), if has_answer(). A failure is rendered by refuse(), if nothing was sent yet.
    [[nodiscard]] net::task<lean<void>> go();
    [[nodiscard]] bool has_answer() const { return work_ != nullptr; }
    [[nodiscard]] net::task<lean<void>> pump(); // pump.cpp
    [[nodiscard]] net::task<void> refuse(failure why);
    [[nodiscard]] net::task<after> finish();

private:
    // Stages of go().
    [[nodiscard]] result<void> find_door();
    [[nodiscard]] result<void> authenticate();
    [[nodiscard]] result<void> take_place();
    [[nodiscard]] net::task<lean<void>> answer_ourselves();
    [[nodiscard]] result<void> keep_head(); // apart from the buffer, if that will move
    [[nodiscard]] result<void> parse(result<dialects::body_facts> facts);
    [[nodiscard]] result<void> decide();
    [[nodiscard]] net::task<result<void>> ask_hub();
    [[nodiscard]] net::task<result<void>> dispatch();

    // pump.cpp
    [[nodiscard]] reply_head head_of(int status, std::string_view content_type) const;
    [[nodiscard]] static net::task<lean<void>> failed(failure why);
    [[nodiscard]] net::task<lean<void>> pump_as_is();
    [[nodiscard]] net::task<lean<void>> pump_base64(dialects::rendering shape);
    [[nodiscard]] net::task<lean<void>> pump_as_events();
    [[nodiscard]] net::task<lean<void>> pump_reworded();
    [[nodiscard]] net::task<lean<std::string>> collect();
    [[nodiscard]] net::task<void> keep_waiting(); // `: waiting` to a streaming client while nothing comes
    [[nodiscard]] net::task<void> stop_waiting();
    void commit_stream();
    void tell_route(std::string& events, bool last);
    void watch_client();
    void release_request();
    [[nodiscard]] bool has_body() const; // bytes follow the head
    [[nodiscard]] bool unread() const;   // and some of them were not read
    [[nodiscard]] const dialects::dialect& tongue() const;

    client_side& from_;
    dispatch::core& here_;
    std::shared_ptr<const dispatch::snapshot> now_; // one snapshot to the end
    const config::settings& policy_;
    std::size_t head_size_;
    net::time_point began_;
    telemetry::access_record record_;
    std::string request_id_;
    net::interrupt stop_;
    net::deadline limit_;

    std::string_view path_, query_;
    std::optional<dialects::door_match> door_;
    std::optional<failure> no_door_;
    const config::client* who_ = nullptr;
    std::unique_ptr<body> body_;
    dialects::body_facts facts_;
    request asked_;
    policy::plan plan_;
    std::shared_ptr<const hub_answer> hub_; // once it was asked
    std::unique_ptr<dispatch::dispatched> work_;
    writer out_;
    std::string route_; // as known when the head was written
    std::string upstream_;

    // keep_waiting()
    std::unique_ptr<net::event> tick_;
    std::unique_ptr<net::event> waiting_ended_;
    bool waiting_ = false;
    bool end_waiting_ = false;
    bool route_told_ = false;
    bool committed_ = false; // the 200 of a stream is out, its content is not
    bool begun_ = false;     // the candidates are decided: an answer begins, or none does
    bool close_ = false;
    bool released_ = false;
    bool unread_ = false; // when it was released
};

} // namespace gw::ingress
