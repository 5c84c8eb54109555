//! `/livez`, `/readyz` and `/metrics`, for probes and Prometheus.

use crate::health::Health;
use crate::meter::Meter;
use actix_web::dev::Server;
use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};

/// The server, bound and ready to be spawned. One worker thread of its own, so that it answers while the
/// service is busy.
pub(crate) fn server(listen: &str, health: Health, meter: Meter) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(health.clone()))
            .app_data(web::Data::new(meter.clone()))
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics))
    })
    .workers(1)
    // Only the process kit listens for signals.
    .disable_signals()
    .shutdown_timeout(1)
    .bind(listen)?
    .run();
    Ok(server)
}

async fn livez(health: web::Data<Health>) -> HttpResponse {
    if health.live() {
        HttpResponse::Ok().body("live\n")
    } else {
        HttpResponse::InternalServerError().body("the executor is stuck\n")
    }
}

async fn readyz(health: web::Data<Health>) -> HttpResponse {
    let (ready, text) = health.readiness();
    if ready { HttpResponse::Ok().body(text) } else { HttpResponse::ServiceUnavailable().body(text) }
}

async fn metrics(meter: web::Data<Meter>) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4")).body(meter.text())
}
