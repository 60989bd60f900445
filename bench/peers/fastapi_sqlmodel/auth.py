"""Accounts: /api/auth/signup and /api/auth/login."""

from fastapi import APIRouter, HTTPException
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import IntegrityError
from sqlmodel import func, select

from fastapi_sqlmodel.database import Session
from fastapi_sqlmodel.models import Account, AccountWithToken, Login, Signup, User
from fastapi_sqlmodel.security import hasher, issue_token, unauthorized, verify_password
from fastapi_sqlmodel.settings import JWT_EXPIRES_SECONDS

router = APIRouter(prefix="/api/auth", tags=["auth"])


@router.post("/signup", status_code=201)
async def sign_up(body: Signup, session: Session) -> Account:
    """Create an account."""
    # In a thread: 20 ms of Argon2 would hold up every other request of the worker.
    password_hash = await run_in_threadpool(hasher.hash, body.password)
    user = User(email=body.email, password_hash=password_hash)
    session.add(user)
    try:
        await session.commit()
    except IntegrityError:
        raise HTTPException(409, "Email already registered") from None
    return Account(user_id=user.id, email=user.email)


@router.post("/login")
async def log_in(body: Login, session: Session) -> AccountWithToken:
    """Exchange credentials for a token."""
    statement = select(User).where(func.lower(User.email) == func.lower(body.email))
    user = (await session.exec(statement)).one_or_none()
    password_hash = user.password_hash if user else None
    if not await run_in_threadpool(verify_password, password_hash, body.password):
        raise unauthorized("Invalid credentials")
    return AccountWithToken(
        user_id=user.id, email=user.email, token=issue_token(user), expires_in=JWT_EXPIRES_SECONDS
    )
